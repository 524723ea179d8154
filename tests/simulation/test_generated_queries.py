"""Generated schemas and queries through whole jobs over the in-memory transport, against the pooled rows."""

import pytest

from mpc.keys.dictionary import Dictionary
from tests.simulation.generated import PARTIES, Case, assert_equal_rows
from tests.simulation.memory_room import MemoryRoom

QUERIES = 5


async def run_case(folder, seed):
    case = Case(seed, queries=QUERIES)
    room = MemoryRoom(folder, {p: {"tab": case.rows[p]} for p in PARTIES}, dictionary=Dictionary(tables=(case.table,)))
    try:
        for sql, want in case.queries:
            assert_equal_rows(sql, (await room.sql(sql)).values, want)
    finally:
        await room.close()


@pytest.mark.parametrize("seed", range(12))
async def test_generated_queries_equal_the_pooled_rows(tmp_path, seed):
    await run_case(tmp_path, seed)


@pytest.mark.soak
async def test_two_thousand_generated_queries_equal_the_pooled_rows(tmp_path):
    for seed in range(1000, 1400):
        folder = tmp_path / str(seed)
        folder.mkdir()
        await run_case(folder, seed)
