"""One party's data: the `Source` seam, its implementations, and what each physical type becomes.

`open_source` is what a worker calls; `README.md` beside this file says how another database is added.
"""

from servers.party.sources.base import (
    BATCH_ROWS,
    ColumnData,
    Columns,
    Dialect,
    FileDigest,
    Snapshot,
    Source,
    SourceColumn,
)
from servers.party.sources.digests import DigestCache, FileKey
from servers.party.sources.opening import needs_network, open_source, readable_paths
from servers.party.sources.spec import Limits, SourceSpec, TableSpec, file_url, resolve_url, resolved

__all__ = [
    "BATCH_ROWS",
    "ColumnData",
    "Columns",
    "Dialect",
    "DigestCache",
    "FileDigest",
    "FileKey",
    "Limits",
    "Snapshot",
    "Source",
    "SourceColumn",
    "SourceSpec",
    "TableSpec",
    "file_url",
    "needs_network",
    "open_source",
    "readable_paths",
    "resolve_url",
    "resolved",
]
