"""Files that people write: whatever is wrong with one is a sentence with its name, and never a traceback."""

import pytest

from mpc.client.members import MemberFolder
from mpc.client.profile import Profile
from mpc.errors import ConfigurationError
from mpc.policy import Policy
from mpc.runtime.settings import read_settings
from servers.coordinator.config import load_config as load_coordinator
from servers.health import check
from servers.party.config import load_config as load_party

GOOD = 'name = "north"\nlisten = "127.0.0.1:7443"\n'

BROKEN = {
    "empty": b"",
    "not UTF-8": GOOD.encode() + b"# \xff\n",
    "UTF-16": GOOD.encode("utf-16"),
    "a zero byte": GOOD.encode() + b"\0",
    "nested": b"a = " + b"[" * 3000 + b"]" * 3000,
    "a number for a text": b'name = 7\nlisten = "127.0.0.1:7443"\n',
    "an unknown key": b'nmae = "x"\n' + GOOD.encode(),
    "twice": GOOD.encode() + b'name = "x"\n',
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize(
    ("load", "name"),
    [(load_party, "party.toml"), (load_coordinator, "coordinator.toml"), (Profile.load, "analyst.toml")],
)
def test_a_broken_file_is_named(tmp_path, load, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigurationError, match=name):
        load(tmp_path if load == Profile.load else tmp_path / name)


@pytest.mark.parametrize("content", [BROKEN["not UTF-8"], BROKEN["UTF-16"], BROKEN["nested"]])
async def test_so_it_is_for_the_health_check_and_the_doctor(tmp_path, content):
    (tmp_path / "party.toml").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"party\.toml"):
        MemberFolder.at(tmp_path)
    with pytest.raises(ConfigurationError, match=r"party\.toml"):
        await check(tmp_path, 1.0)


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_editors_of_other_systems_may_write_them(tmp_path, ends):
    text = ("\ufeff" + GOOD.replace("\n", ends)).encode()
    (tmp_path / "party.toml").write_bytes(text)
    (tmp_path / "policy.toml").write_bytes('\ufeffanalysts = ["ana"]\r\n'.encode())

    assert load_party(tmp_path / "party.toml").name == "north"
    assert read_settings(tmp_path / "party.toml", dict[str, str])["listen"] == "127.0.0.1:7443"
    assert Policy.load(tmp_path / "policy.toml").analysts == ("ana",)


@pytest.mark.parametrize(
    "limit",
    ["memory_bytes = 9223372036854775807", "memory_bytes = 1", "threads = 0", "statement_timeout_s = inf",
     "statement_timeout_s = nan", "statement_timeout_s = 1e12"],
)  # fmt: skip
def test_limits_that_nothing_can_run_under_are_refused_before_a_worker_starts(tmp_path, limit):
    (tmp_path / "party.toml").write_text(f"{GOOD}[limits]\n{limit}\n")
    with pytest.raises(ConfigurationError, match="limits"):
        load_party(tmp_path / "party.toml")
