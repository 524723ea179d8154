"""A full disk is one error, from whichever library it comes; nothing else is taken for one."""

import errno
import sqlite3

import pytest

from mpc.runtime.storage import disk_full
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
