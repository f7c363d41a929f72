"""Images that stay on disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, IterableDataset

from pyro_vae import VAE, InputError, data, fit, networks
from pyro_vae.data import Stored, as_images, as_source, batches, stored


def mapped(path: Path, array: np.ndarray) -> Any:
    np.save(path, array)
    return np.load(path, mmap_mode="r")


@pytest.fixture
def images(tmp_path: Path) -> Any:
    rng = np.random.default_rng(0)
    return mapped(tmp_path / "a.npy", rng.integers(0, 256, (100, 6, 6), dtype=np.uint8))


class Ascending:
    """An array that takes ascending rows only, and counts those that are read."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.read = array, 0
        self.shape, self.dtype = array.shape, array.dtype

    def __getitem__(self, rows: np.ndarray) -> Any:
        assert (np.diff(rows) >= 0).all()
        self.read += len(rows)
        return self.array[rows]


@pytest.mark.parametrize(
    "index",
    [torch.tensor([5, 3, 99, 0, 3]), slice(10, 30), slice(None, 7), 4, torch.tensor([]).long()],
    ids=["order", "slice", "first", "one", "none"],
)
def test_an_index_gives_what_a_tensors_does(images: np.ndarray, index: Any) -> None:
    tensor = torch.from_numpy(np.array(images))[:, None]
    found = Stored(images)
    assert torch.equal(found[index], tensor[index])
    order = torch.randperm(100)
    assert torch.equal(found.subset(order)[index], tensor[order][index])
    assert torch.equal(found.subset(order).subset(order)[index], tensor[order][order][index])


def test_rows_are_read_in_ascending_order_and_no_others(images: np.ndarray) -> None:
    rows = Ascending(np.array(images))
    found = Stored(rows)
    parts = torch.randperm(100).split(16)
    got = list(batches(found, parts[:3]))
    assert rows.read == 48
    tensor = torch.from_numpy(np.array(images))[:, None]
    assert all(torch.equal(g, tensor[p]) for g, p in zip(got, parts[:3], strict=True))
    assert torch.equal(torch.cat(list(found.split(30))), tensor)


@pytest.mark.parametrize(
    "kind", [np.uint8, np.bool_, ">i2", np.float16, ">f8"], ids=lambda kind: str(np.dtype(kind))
)
def test_numbers_are_those_of_an_array_in_memory(tmp_path: Path, kind: Any) -> None:
    array = np.random.default_rng(0).integers(0, 9, (20, 5)).astype(kind)
    on_disk = as_source(mapped(tmp_path / "a.npy", array))
    assert isinstance(on_disk, Stored)
    in_memory = as_images(array)
    assert on_disk.dtype == in_memory.dtype
    assert torch.equal(on_disk[:], in_memory)
    assert torch.equal(as_images(on_disk), in_memory)


def test_some_are_spread_evenly_and_never_more_than_fit(
    images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Stored(images)
    assert torch.equal(found.some(), found[:])
    assert torch.equal(found.some(4), found[torch.tensor([0, 33, 66, 99])])
    monkeypatch.setattr(stored, "memory", lambda: 4 * 10 * 36)
    assert len(found.some()) == 10
    assert len(as_images(images)) == 10


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((3, 2, 2, 2, 2)), "shape"),
        (np.zeros((4, 0)), "no images"),
        (np.zeros((4, 5), dtype=complex), "numbers"),
        (np.full((4, 5), np.nan), "finite"),
        (np.zeros((4, 6)), "shape"),
    ],
    ids=["shape", "empty", "complex", "nan", "another"],
)
def test_other_arrays_are_refused(tmp_path: Path, array: np.ndarray, words: str) -> None:
    on_disk = np.lib.format.open_memmap(tmp_path / "a.npy", "w+", array.dtype, array.shape)
    on_disk[...] = array
    with pytest.raises(InputError, match=words):
        as_source(on_disk, (5,))


def test_a_large_file_stays_on_disk_and_its_parts_are_those_in_memory(
    tmp_path: Path, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = data.load(str(tmp_path / "a.npy"))
    monkeypatch.setattr(stored, "memory", lambda: 4 * 3600)
    assert isinstance(data.load(str(tmp_path / "a.npy")).train, Stored)
    assert torch.equal(data.load(str(tmp_path / "a.npy")).train[:], there.train)
    assert torch.equal(data.load(str(tmp_path / "a.npy")).test[:], there.test)
    few = data.first(data.load(str(tmp_path / "a.npy")), 7)
    assert isinstance(few.train, Stored)
    assert torch.equal(few.train[:], there.train[:7])
    monkeypatch.setattr(stored, "memory", lambda: 4 * 3800)
    assert isinstance(data.load(str(tmp_path / "a.npy")).train, torch.Tensor)


@pytest.mark.parametrize(
    ("name", "words"),
    [("fortran.npy", "Fortran"), ("cut.npy", "not a readable"), ("large.npz", "save the images")],
)
def test_files_that_cannot_be_read_batch_by_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, words: str
) -> None:
    array = np.arange(4000.0).reshape(100, 40)
    np.save(tmp_path / "fortran.npy", np.asfortranarray(array))
    np.save(tmp_path / "cut.npy", array)
    (tmp_path / "cut.npy").write_bytes((tmp_path / "cut.npy").read_bytes()[:-100])
    np.savez(tmp_path / "large.npz", images=array)
    monkeypatch.setattr(stored, "memory", lambda: 10_000)
    with pytest.raises(InputError, match=words) as caught:
        data.load(str(tmp_path / name))
    assert str(caught.value).startswith(f"{tmp_path / name}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("obs", ["normal-learned-sigma", "normal-optimal-sigma"])
def test_training_on_disk_is_training_in_memory(images: np.ndarray, obs: str) -> None:
    ends = []
    for given in (np.array(images), images):
        torch.manual_seed(0)
        vae = VAE((1, 6, 6), 2, obs, networks.MLP(hidden=8))
        history = fit(vae, given, 0.2, epochs=2, batch_size=32)
        ends.append((vae.state_dict(), history.epochs("held-out")[-1]["kl"], history.baselines))
    assert ends[0][1] == pytest.approx(ends[1][1], rel=1e-5)
    assert ends[0][2] == pytest.approx(ends[1][2], rel=1e-5)
    torch.testing.assert_close(ends[0][0], ends[1][0])
    assert len(ends[0][0]) > 4


class Stream(IterableDataset[Any]):
    """Items one after the other."""

    def __init__(self, items: Any) -> None:
        self.items = items

    def __iter__(self) -> Iterator[Any]:
        return iter(self.items)


class NoLength(Dataset[Any]):
    """A map-style data set that does not say how long it is."""

    def __getitem__(self, index: int) -> Any:
        raise IndexError


def test_an_iterable_data_set_is_read_until_it_ends() -> None:
    array = torch.arange(24, dtype=torch.uint8).reshape(6, 1, 2, 2)
    assert torch.equal(as_images(Stream(array)), array)
    assert torch.equal(as_images(Stream([(image, 3) for image in array])), array)


def endless() -> Iterator[torch.Tensor]:
    while True:
        yield torch.zeros(1, 8, 8)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (Stream([]), "no images"),
        (Stream([torch.zeros(1, 2, 2), torch.zeros(1, 3, 2)]), r"item 1 \(1, 3, 2\)"),
        (Stream([{"image": 1}]), "items of the data set are mappings with 'image'"),
        (Stream(endless()), "at item 39: end it sooner"),
        (NoLength(), "NoLength has no length"),
    ],
    ids=["empty", "shapes", "dict", "endless", "no length"],
)
def test_data_sets_that_are_refused(
    monkeypatch: pytest.MonkeyPatch, images: Any, words: str
) -> None:
    monkeypatch.setattr(stored, "memory", lambda: 40_000)
    with pytest.raises(InputError, match=words):
        as_images(images)
