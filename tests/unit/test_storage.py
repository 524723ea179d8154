"""A full disk is one error, from whichever library it comes; what else is wrong with a node's state is a sentence."""

import errno
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from mpc.errors import ConfigurationError, ResourceExhausted
from mpc.runtime.storage import disk_full, opening_state
from servers.coordinator.store import JobStore
from servers.party.store import PartyStore
from servers.party.worker import failure_of


def full_database(tmp_path):
    database = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
    database.execute("CREATE TABLE t (b BLOB)")
    database.execute("PRAGMA max_page_count = 3")
    with pytest.raises(sqlite3.OperationalError) as full:
        database.execute("INSERT INTO t VALUES (zeroblob(1000000))")
    database.close()
    return full.value


def test_a_full_database_and_a_full_file_system_are_one_error(tmp_path):
    for error in (full_database(tmp_path), OSError(errno.ENOSPC, "no space"), OSError(errno.EDQUOT, "quota")):
        found = disk_full(error)

        assert found.code == "E4501"
        assert found.fields == {"limit": "disk"}
        assert failure_of(error).fields == {"limit": "disk"}


@pytest.mark.parametrize(
    "error", [OSError(errno.EACCES, "no"), sqlite3.OperationalError("no such table"), ValueError("disk"), MemoryError()]
)
def test_other_errors_are_not(error):
    assert disk_full(error) is None


STORES = {
    "party": lambda path: PartyStore(path),
    "coordinator": lambda path: JobStore(path, lambda: 0.0),
}


@pytest.fixture(params=STORES)
def opened(request):
    return STORES[request.param]


def test_a_record_keeps_its_schemas_number_and_older_ones_get_it(tmp_path, opened):
    path = tmp_path / "state" / "x.sqlite"
    opened(path).close()
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (1,)
        database.execute("PRAGMA user_version = 0")  # as versions wrote it that did not number their schemas
    opened(path).close()
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (1,)


def test_a_record_of_a_newer_version_is_refused_and_left_alone(tmp_path, opened):
    path = tmp_path / "x.sqlite"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE other (x)")
        database.execute("PRAGMA user_version = 9")
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match=r"newer version of sealroom \(its format is 9, this one knows 1\)"):
        opened(path)

    assert path.read_bytes() == before


def _damaged(path):
    path.write_bytes(b"not a database" * 1000)


def _folder(path):
    path.mkdir()


def _file_for_folder(path):
    path.parent.rmdir()
    path.parent.write_text("x")


@pytest.mark.parametrize(
    ("fault", "said"),
    [(_damaged, "it is damaged"), (_folder, "cannot be opened"), (_file_for_folder, "File exists|Not a directory")],
)
def test_why_a_record_cannot_be_opened_is_a_sentence(tmp_path, opened, fault, said):
    path = tmp_path / "state" / "x.sqlite"
    path.parent.mkdir()
    fault(path)
    with pytest.raises(ConfigurationError, match=said) as failed:
        opened(path)

    assert "state" in str(failed.value)


def test_a_record_that_another_process_holds_is_said_to_be_in_use(tmp_path, opened, monkeypatch):
    path = tmp_path / "x.sqlite"
    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, timeout=0.01))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("CREATE TABLE t (x)")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(ConfigurationError, match="another process uses it"):
            opened(path)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.EROFS, "Read-only file system", "/var/lib/x"), "/var/lib/x cannot be opened: Read-only"),
        (OSError(errno.EACCES, "Permission denied", "/var/lib/x"), "Permission denied"),
    ],
)
def test_a_folder_that_cannot_be_written_is_named(error, said):
    with pytest.raises(ConfigurationError, match=said), opening_state(Path("/var/lib/x")):
        raise error
    with pytest.raises(ResourceExhausted), opening_state(Path("/var/lib/x")):
        raise OSError(errno.ENOSPC, "no space")
