"""What holds for every test."""

import signal

import pytest
from hypothesis import settings

from tests.lanes import Lanes

# A busy machine is not a failure: whatever must be fast is measured in processor time by the test that says so.
settings.register_profile("sealroom", deadline=None)
settings.load_profile("sealroom")

# A suite that was started in the background ignores interrupts, and so would the programs that it interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

LANES = pytest.StashKey[Lanes]()


def pytest_configure(config):
    config.stash[LANES] = Lanes()
    config.pluginmanager.register(_Counter(config.stash[LANES]), "sealroom-lanes")


class _Counter:
    """Sees every report; under xdist only the controller's is asked for the summary."""

    def __init__(self, lanes):
        self.lanes = lanes

    def pytest_runtest_logreport(self, report):
        self.lanes.add(report)


def pytest_collection_modifyitems(items):
    for item in items:
        if marker := item.get_closest_marker("lane"):
            item.user_properties.append(("lane", marker.args[0]))


def pytest_terminal_summary(terminalreporter, config):
    lanes = config.stash[LANES]
    for table in lanes.tables:
        terminalreporter.write_line(table)
    if lines := lanes.report():
        terminalreporter.section("lanes")
        for line in lines:
            terminalreporter.write_line(line)
