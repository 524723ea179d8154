"""Catalogues from files, tables and models, and the owner's rule on them."""

import numpy as np
import pyarrow as pa
import pytest

from mpc.errors import SourceError
from mpc.score.catalogue import Catalogue, Subset, catalogue_from_arrays, catalogue_from_column, catalogue_from_file

VECTORS = np.arange(12.0).reshape(4, 3)


def lists(values, kind=None):
    return pa.table({"name": ["a", "b", "c", "d"], "v": pa.array(values, kind or pa.list_(pa.float32()))})


def test_an_npy_file_is_mapped_and_labelled_by_row(tmp_path):
    np.save(tmp_path / "m.npy", VECTORS.astype(np.float32))
    found = catalogue_from_file("films", tmp_path / "m.npy")

    assert (found.rows, found.dimensions, found.labels.tolist()) == (4, 3, [0, 1, 2, 3])
    assert isinstance(found.vectors, np.memmap)
    assert np.array_equal(found.read(1, 3), VECTORS[1:3])


def test_an_npz_file_has_vectors_and_labels(tmp_path):
    np.savez(tmp_path / "m.npz", vectors=VECTORS, items=np.array(["w", "x", "y", "z"]))
    np.savez(tmp_path / "single.npz", VECTORS)

    assert catalogue_from_file("films", tmp_path / "m.npz").labels.tolist() == ["w", "x", "y", "z"]
    assert catalogue_from_file("films", tmp_path / "single.npz").labels.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"PK\x03\x04 not a zip", b"\x80\x04\x95pickle"])
@pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv"])
def test_files_that_are_no_catalogue_are_refused(tmp_path, content, suffix):
    path = tmp_path / f"m{suffix}"
    path.write_bytes(content)
    with pytest.raises(SourceError):
        catalogue_from_file("films", path)


def test_a_pickled_array_is_not_loaded(tmp_path):
    np.save(tmp_path / "m.npy", np.array([[object()]], dtype=object), allow_pickle=True)
    with pytest.raises(SourceError):
        catalogue_from_file("films", tmp_path / "m.npy")


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.large_list(pa.float64()), pa.list_(pa.float32(), 3)])
def test_a_column_of_lists_is_a_matrix(kind):
    found = catalogue_from_column("films", lists(VECTORS.tolist(), kind), vectors="v", labels="name")

    assert np.array_equal(found.vectors, VECTORS)
    assert found.labels.tolist() == ["a", "b", "c", "d"]


def test_a_sliced_and_chunked_column_is_read_right():
    table = pa.concat_tables([lists(VECTORS.tolist()), lists((VECTORS + 100).tolist())]).slice(2, 4)
    table = table.set_column(0, "name", pa.array([5, 6, 7, 8]))
    found = catalogue_from_column("films", table, vectors="v", labels="name")

    assert np.array_equal(found.vectors, np.concatenate([VECTORS[2:], VECTORS[:2] + 100]))


@pytest.mark.parametrize(
    "table",
    [
        lists([[1.0], [1.0, 2.0], [1.0], [1.0]]),
        lists([[1.0], None, [1.0], [1.0]]),
        lists([[1.0], [None], [1.0], [1.0]]),
        lists([["x"]] * 4, pa.list_(pa.string())),
        lists([1.0] * 4, pa.float64()),
        lists([[]] * 4),
        pa.table({"name": ["a", "a", "c", "d"], "v": lists(VECTORS.tolist())["v"]}),
        pa.table({"name": [1.5, 2.5, 3.5, 4.5], "v": lists(VECTORS.tolist())["v"]}),
        pa.table({"v": lists(VECTORS.tolist())["v"]}),
        lists(VECTORS.tolist()).slice(0, 0),
    ],
)
def test_columns_that_are_no_catalogue_are_refused(table):
    with pytest.raises(SourceError):
        catalogue_from_column("films", table, vectors="v", labels="name")


def test_the_arrays_of_a_trained_model_are_a_catalogue():
    arrays = {"items": np.array([7, 9]), "vectors": VECTORS[:2], "users": np.array([3, 3])}

    assert catalogue_from_arrays("model", arrays).labels.tolist() == [7, 9]
    with pytest.raises(SourceError):
        catalogue_from_arrays("model", {"items": np.array([7, 9])})


def films():
    return Catalogue(name="films", vectors=VECTORS, labels=np.array(["a", "b", "c", "d"]))


def test_an_owner_offers_what_the_rule_says_under_the_same_name():
    assert Subset().apply(films()).labels.tolist() == ["a", "b", "c", "d"]
    assert Subset(only=("d", "b")).apply(films()).labels.tolist() == ["b", "d"]
    assert Subset(never=("a",), most=2).apply(films()).labels.tolist() == ["b", "c"]
    offered = Subset(only=("b", "c"), never=("b",)).apply(films())

    assert offered.labels.tolist() == ["c"]
    assert np.array_equal(offered.vectors, VECTORS[2:3])
    assert offered.name == "films"


@pytest.mark.parametrize(
    "rule", [Subset(never=("A",)), Subset(only=("x",)), Subset(never=(1,)), Subset(only=()), Subset(most=0)]
)
def test_a_rule_that_names_nothing_or_offers_nothing_is_refused(rule):
    with pytest.raises(SourceError):
        rule.apply(films())


def test_the_largest_norm_reads_in_blocks_and_refuses_what_is_not_finite():
    found = films()

    assert found.largest_norm(items_at_once=3) == pytest.approx(np.linalg.norm(VECTORS, axis=1).max())
    with pytest.raises(SourceError):
        Catalogue(name="x", vectors=np.array([[np.nan]]), labels=np.arange(1)).largest_norm()


@pytest.mark.parametrize("most", [-1, -5, 0])
def test_a_negative_number_of_items_offers_none(most):
    catalogue = Catalogue(name="c", vectors=np.ones((9, 2)), labels=np.arange(9))
    with pytest.raises(SourceError):
        Subset(most=most).apply(catalogue)


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_large_labels_that_doubles_cannot_tell_apart_are_told_apart(dtype):
    labels = np.array([2**60, 2**60 + 1, 2**60 + 2, 5], dtype=dtype)
    catalogue = Catalogue(name="c", vectors=np.arange(8.0).reshape(4, 2), labels=labels)

    assert Subset(only=(2**60 + 1, 5)).apply(catalogue).labels.tolist() == [2**60 + 1, 5]
    assert Subset(never=(2**60 + 1,)).apply(catalogue).labels.tolist() == [2**60, 2**60 + 2, 5]
    for stranger in (2**60 + 3, -1, 2**80):
        with pytest.raises(SourceError):
            Subset(never=(stranger,)).apply(catalogue)
