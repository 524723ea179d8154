"""Threads of the kernels: every block is done once, whoever does it, and failures come out."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from mpc.params import parameter_set
from mpc.schemes.rlwe.blocks import DEFAULT, Execution, for_blocks, least_blocks

TWO = Execution(threads=2)


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 64, 1001])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_every_block_is_done_once(count, threads):
    done, lock = [], threading.Lock()

    def work(blocks):
        with lock:
            done.extend(blocks)

    for_blocks(count, Execution(threads=threads), work)
    assert sorted(done) == list(range(count))


def test_two_threads_are_at_work_at_once():
    meeting = threading.Barrier(2)
    for_blocks(4, TWO, lambda _: meeting.wait(timeout=30))


def test_work_that_hands_out_blocks_itself_does_not_wait_for_ever():
    done, lock = [], threading.Lock()

    def inner(blocks):
        with lock:
            done.extend(blocks)

    def outer(blocks):
        for _ in blocks:
            for_blocks(8, TWO, inner)

    with ThreadPoolExecutor(4) as callers:
        for future in [callers.submit(for_blocks, 8, TWO, outer) for _ in range(4)]:
            future.result(timeout=60)
    assert sorted(done) == sorted(list(range(8)) * 32)


@pytest.mark.parametrize("failing", [0, 5])
@pytest.mark.parametrize("kind", [ValueError, IndexError])
def test_a_failure_comes_out_when_all_have_stopped(failing, kind):
    at_work = []

    def work(blocks):
        at_work.append(blocks)
        try:
            if failing in blocks:
                raise kind("this one")
        finally:
            at_work.remove(blocks)

    with pytest.raises(kind, match="this one"):
        for_blocks(8, TWO, work)
    assert not at_work


@pytest.mark.parametrize(("name", "blocks"), [("rlwe-2048-t30", 4), ("rlwe-4096-t60", 1), ("rlwe-8192-t60", 1)])
def test_a_thread_is_woken_for_so_much_work_whatever_the_ring(name, blocks):
    assert least_blocks(DEFAULT.ring(parameter_set(name)), 1 << 16) == blocks
