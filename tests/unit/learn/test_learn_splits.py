"""The declared splits, against their published test vectors."""

import numpy as np

from mpc.learn.splits import bucket, key_hash, pair_bucket, shard, splitmix64
from tests.unit.learn.learn_datasets import movielens


def test_splitmix64_of_zero():
    assert hex(int(splitmix64(np.array([0], dtype=np.uint64))[0])) == "0xe220a8397b1dcdaf"


def test_the_published_buckets():
    first, second = np.array([1, 610, 1, 1]), np.array([1, 170875, 1, 1])

    assert pair_bucket(first[:2], second[:2], 0, 10).tolist() == [4, 9]
    assert pair_bucket(first[2:3], second[2:3], 1, 10).tolist() == [0]
    assert pair_bucket(first[3:], second[3:], 0, 5).tolist() == [4]


def test_the_published_companies():
    assert shard(np.array([1, 2, 610]), 5).tolist() == [0, 0, 1]
    assert np.bincount(shard(np.arange(1, 611), 5)).tolist() == [120, 102, 132, 115, 141]


def test_movielens_divides_into_the_published_counts():
    rows = movielens()
    test = pair_bucket(rows["user"], rows["item"], 0, 10) == 0
    validation = ~test & (pair_bucket(rows["user"], rows["item"], 1, 10) == 0)

    assert (test.sum(), validation.sum(), (~test).sum()) == (10_022, 9_116, 90_814)


def test_texts_hash_the_same_in_every_batch():
    names = np.array(["ann", "bob", "ann", "zoe"])

    whole, parts = bucket(names, 7, 1000), [bucket(names[i : i + 1], 7, 1000)[0] for i in range(4)]

    assert whole.tolist() == parts
    assert whole[0] == whole[2] != whole[1]


def test_large_or_negative_keys_are_hashed_too():
    keys = np.array([-1, 1 << 40, 5])

    assert key_hash(keys).tolist() == [(1 << 64) - 1, 1 << 40, 5]
    assert len(set(pair_bucket(keys, keys, 0, 1 << 40).tolist())) == 3
