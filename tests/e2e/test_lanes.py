"""Lanes do not vanish: `.ci/lanes` and the tests name the same ones, and a demanded lane cannot skip."""

from pathlib import Path

import pytest

from tests.lanes import Lanes, lane_missing

LANES = Path(__file__).parents[2] / ".ci/lanes"


def committed():
    return [line.split()[0] for line in LANES.read_text().splitlines() if line.strip() and not line.startswith("#")]


def test_every_committed_lane_has_tests_and_every_lane_is_committed(request):
    if list(request.config.args) != request.config.getini("testpaths") or request.config.option.keyword:
        pytest.skip("only part of the tests was asked for")
    marked = {m.args[0] for item in request.session.items if (m := item.get_closest_marker("lane"))}

    assert marked == set(committed())


def test_a_lane_skips_by_name_and_fails_where_it_is_demanded(monkeypatch):
    monkeypatch.setenv("SEALROOM_LANES", "hosts")
    with pytest.raises(pytest.skip.Exception, match="SKIPPED LANE images: no podman"):
        lane_missing("images", "no podman")
    with pytest.raises(pytest.fail.Exception, match="LANE hosts does not run here any more: no root"):
        lane_missing("hosts", "no root")


@pytest.mark.xdist_group("lanes")
def test_tests_of_one_group_go_to_one_worker(request):
    """Lanes share rooms and containers; where the suffix is missing, xdist spreads them over all workers."""
    if request.config.getoption("dist", "no") != "loadgroup" and not request.config.getoption("loadgroup", False):
        pytest.skip("tests are not spread over workers")

    assert request.node.nodeid.endswith("@lanes")


class Report:
    def __init__(self, lane, outcome, said="", when="call"):
        self.user_properties, self.duration, self.when = [("lane", lane)], 2.0, when
        self.passed, self.failed, self.skipped = (outcome == x for x in ("passed", "failed", "skipped"))
        self.longrepr = ("file", 1, said)


def test_the_summary_names_what_ran_what_failed_and_what_is_missing():
    lanes = Lanes()
    lanes.add(Report("hosts", "passed"))
    lanes.add(Report("hosts", "failed"))
    lanes.add(Report("hosts", "skipped", "Skipped: the query was faster than the kill"))
    lanes.add(Report("images", "skipped", "Skipped: SKIPPED LANE images: it needs root: no", when="setup"))

    assert lanes.report() == [
        "lane hosts              1 passed, 1 FAILED in 6 s",
        "SKIPPED LANE images: it needs root: no",
    ]
