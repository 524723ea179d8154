"""A training's display while it runs and after it failed; the kernel's test sees the rest."""

from concurrent.futures import Future

from mpc.client.notebook import register
from mpc.client.training import Step, TrainingRun
from mpc.errors import PolicyDenied


def test_a_run_that_goes_on_shows_its_progress_and_latest_metrics():
    run = TrainingRun("ab" * 16, Future())
    run.steps = [Step(step=n, of=40, metrics={"loss": 1.0 / n}, seconds=2.0 * n) for n in range(1, 21)]
    page = run._repr_html_()

    assert "<b>runs</b>" in page
    assert '<progress max="40" value="20">' in page
    assert "about 40 s to go" in page
    assert "0.05" in page
    assert "0.125" not in page  # step 8 is not among the latest


def test_a_run_that_failed_says_why():
    ended = Future()
    ended.set_exception(PolicyDenied("", party="north", rule="<train>"))
    page = TrainingRun("ab" * 16, ended)._repr_html_()

    assert "E5001" in page
    assert "north" in page
    assert "<train>" not in page


def test_without_a_notebook_nothing_is_registered():
    register()
