"""What a full disk looks like, wherever it is met."""

import errno
import sqlite3

from mpc.errors import ResourceExhausted

__all__ = ["disk_full"]


def disk_full(error: BaseException, **whose: str) -> ResourceExhausted | None:
    """The error that a full disk, or a used-up quota, is for everybody else; None for anything but that.

    Args:
        error: What was raised.
        **whose: `member=` the disk's owner, where whoever hears of it does not know whom it asked.
    """
    if isinstance(error, sqlite3.Error):
        full = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    else:
        full = isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}
    return ResourceExhausted("the disk is full", limit="disk", **whose) if full else None
