"""Lanes: tests that need something of the machine, such as root, containers or a database.

Where the machine lacks it, a lane skips loudly and by name. `SEALROOM_LANES=hosts,images` demands lanes: their skips
are failures. `.ci/run` demands every lane of `.ci/lanes` that the machine's probes allow. The lanes over images cost
minutes and run only where they are demanded.
"""

import os

import pytest

__all__ = ["Lanes", "demanded", "lane_missing"]


def demanded():
    """Names of the lanes that must run."""
    return frozenset(filter(None, os.environ.get("SEALROOM_LANES", "").split(",")))


def lane_missing(lane, reason):
    """End a test whose lane cannot run: a skip, or a failure where the lane is demanded."""
    if lane in demanded():
        pytest.fail(f"LANE {lane} does not run here any more: {reason}", pytrace=False)
    pytest.skip(f"SKIPPED LANE {lane}: {reason}")


class Lanes:
    """What became of each lane, from the reports of its tests: `pytest.mark.lane(name)` puts a test into one."""

    def __init__(self):
        self.seconds, self.passed, self.failed, self.missing, self.tables = {}, {}, {}, {}, []

    def add(self, report):
        """Count one phase of one test."""
        facts = dict(report.user_properties)
        if report.when == "teardown" and "table" in facts:
            self.tables.append(facts["table"])
        if (lane := facts.get("lane")) is None:
            return
        self.seconds[lane] = self.seconds.get(lane, 0.0) + report.duration
        if report.failed:
            self.failed[lane] = self.failed.get(lane, 0) + 1
        elif report.when == "call" and report.passed:
            self.passed[lane] = self.passed.get(lane, 0) + 1
        elif report.skipped and f"SKIPPED LANE {lane}" in (said := str(report.longrepr[-1])):
            self.missing[lane] = said.partition(f"SKIPPED LANE {lane}")[2].lstrip(": ")

    def report(self):
        """Lines for the end of a run."""
        lines = []
        for lane, seconds in sorted(self.seconds.items()):
            if lane in self.missing and lane not in self.passed:
                lines.append(f"SKIPPED LANE {lane}: {self.missing[lane]}")
            else:
                failed = f", {self.failed[lane]} FAILED" if lane in self.failed else ""
                lines.append(f"lane {lane:<15} {self.passed.get(lane, 0):>4} passed{failed} in {seconds:.0f} s")
        return lines
