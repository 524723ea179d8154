"""The file of cost constants: what writes it, what reads it, and what it changes."""

import contextlib
from types import SimpleNamespace

import msgspec
import pytest

from mpc.client.bench import calibrating, sums
from mpc.client.bench.drift import Drift, Reading
from mpc.errors import ConfigurationError, ResourceExhausted
from mpc.params import SchemeId
from mpc.plan import choose_parameters
from mpc.plan.constants import (
    CostConstants,
    SchemeConstants,
    calibrated_model,
    constants_path,
    read_constants,
    write_constants,
)
from mpc.plan.cost import DEFAULT_MODEL, Line


def constants(**schemes):
    made = {n: SchemeConstants(encrypt_ns=a, add_ns=b, decrypt_ns=c, key_s=d) for n, (a, b, c, d) in schemes.items()}
    return CostConstants(
        machine="m", commit="c", measured_at="t", mask_ns=5.0, packing_ns=10.0, job_s=0.08, sum_s=0.02, schemes=made
    )


def test_the_file_is_read_as_it_was_written(tmp_path):
    path, given = tmp_path / "deep" / "costs.toml", constants(rlwe=(16.0, 5.0, 7.0, 0.002))

    write_constants(path, given)

    assert read_constants(path) == given
    assert list(path.parent.iterdir()) == [path]


def text_of(**changes):
    import tomli_w

    return tomli_w.dumps({**msgspec.to_builtins(constants()), **changes})


COSTS = {"encrypt_ns": 1.0, "add_ns": 1.0, "decrypt_ns": 1.0, "key_s": 1.0}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "]",
        "\x00",
        'format = "sealroom-costs/1"',
        text_of(format="sealroom-costs/2"),
        text_of(mask_ns=-1.0),
        text_of(mask_ns=float("inf")),
        text_of(job_s="soon"),
        text_of(sum_s=-0.1),
        text_of(extra=1),
        text_of(schemes={"rot13": COSTS}),
        text_of(schemes={"rlwe": {**COSTS, "key_s": float("nan")}}),
    ],
)
def test_a_file_out_of_order_is_refused_by_name(tmp_path, text):
    path = tmp_path / "costs.toml"
    path.write_text(text)

    with pytest.raises(ConfigurationError) as raised:
        read_constants(path)

    assert raised.value.fields["file"] == "costs.toml"


def test_a_missing_file_means_the_reference_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("SEALROOM_COSTS", str(tmp_path / "none.toml"))

    assert calibrated_model() == DEFAULT_MODEL
    assert calibrated_model(Line(megabits_per_s=20)).line.megabits_per_s == 20


def test_the_place_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv("SEALROOM_COSTS", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert constants_path() == tmp_path / "sealroom" / "costs.toml"

    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert constants_path() == tmp_path / ".config" / "sealroom" / "costs.toml"


def test_measured_schemes_replace_the_reference_and_others_stay(tmp_path, monkeypatch):
    path = tmp_path / "costs.toml"
    write_constants(path, constants(rlwe=(1.0, 2.0, 3.0, 4.0)))
    monkeypatch.setenv("SEALROOM_COSTS", str(path))

    model = calibrated_model(Line(latency_s=0.02))

    assert model.schemes[SchemeId.RLWE].encrypt_ns == 1.0
    assert model.schemes[SchemeId.BFV] == DEFAULT_MODEL.schemes[SchemeId.BFV]
    assert model.fixed_s == pytest.approx(0.08 + 3 * 0.04)
    assert model.sum_s == 0.02


def test_choices_follow_the_constants_and_the_bandwidth():
    segments = sums.requests_of(sums.vectors(3, 20))[0].header.segments
    fast = constants(paillier=(100.0, 10.0, 100.0, 0.0))

    def chosen(model):
        return choose_parameters(segments, 3, model=model).parameters.scheme

    assert chosen(DEFAULT_MODEL) is SchemeId.RLWE
    assert chosen(fast.model()) is SchemeId.PAILLIER
    slow_line = msgspec.structs.replace(fast, schemes={}).model(Line(megabits_per_s=0.01))
    assert chosen(slow_line) is SchemeId.PAILLIER


def test_a_line_through_two_medians():
    line = calibrating._Line.through((1000, 0.003), (3000, 0.007))

    assert line.slot_ns == pytest.approx(2000)
    assert line.fixed_s == pytest.approx(0.001)
    assert calibrating._Line.through((1, 0.5), (2, 0.4)).slot_ns == 0.0


def test_calibration_measures_constants_of_this_machine(monkeypatch):
    kept = (SchemeId.CLEAR, SchemeId.RLWE, SchemeId.BFV)
    small = {scheme: (calibrating._SETS[scheme][0], 4, 16) for scheme in kept}
    monkeypatch.setattr(calibrating, "_SETS", small)
    monkeypatch.setattr(calibrating, "_SAMPLES", 3)

    found = calibrating.calibrate(with_room=False)

    found.check()
    assert set(found.schemes) == {"clear", "rlwe", "bfv"}
    assert found.schemes["bfv"].encrypt_ns > found.schemes["rlwe"].encrypt_ns > 0
    assert found.schemes["bfv"].decrypt_ns > found.schemes["rlwe"].decrypt_ns


def test_a_busy_machine_is_not_calibrated(monkeypatch):
    class Busy:
        def read(self):
            return None

        def beside(self, *_):
            return 3.0

        def judge(self, drifts):
            assert drifts
            raise ResourceExhausted("busy")

    monkeypatch.setattr(calibrating, "_SETS", {SchemeId.CLEAR: ("insecure-clear-4096-t62", 1, 2)})
    monkeypatch.setattr(calibrating, "_SAMPLES", 1)

    with pytest.raises(ResourceExhausted):
        calibrating.calibrate(drift=Busy(), with_room=False)


def test_the_cost_of_a_job_is_judged_by_elapsed_time(monkeypatch):
    class Slowed(Drift):
        """Processor time stays as it is; elapsed time is twice as long at the end, which follows the job."""

        def read(self):
            self.readings.append(Reading(1.0, 2.0 if len(self.readings) == 4 else 1.0))
            return self.readings[-1]

    monkeypatch.setattr(calibrating, "_SETS", {SchemeId.CLEAR: ("insecure-clear-4096-t62", 1, 2)})
    monkeypatch.setattr(calibrating, "_SAMPLES", 1)
    steps = []

    with pytest.raises(ResourceExhausted, match="a job in a room"):
        calibrating.calibrate(steps.append, drift=Slowed(), with_room=False)

    assert len(steps) == 5


def test_a_broken_file_of_constants_can_be_replaced_by_calibrating(tmp_path, monkeypatch):
    broken = tmp_path / "costs.toml"
    broken.write_text("]")
    monkeypatch.setenv("SEALROOM_COSTS", str(broken))
    monkeypatch.setattr(calibrating, "_JOBS", 2)

    class Client:
        def sql(self, _text, *, scheme):
            calibrated_model()  # as the analyst does for every query
            return SimpleNamespace(report=SimpleNamespace(seconds=0.1))

    monkeypatch.setattr(
        calibrating.queries, "site", lambda *_: contextlib.nullcontext(SimpleNamespace(client=Client()))
    )

    assert calibrating._job_and_sum_s() == (pytest.approx(0.1), 0.0)
    with pytest.raises(ConfigurationError):
        calibrated_model()
