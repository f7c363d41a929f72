"""Data sets that torchvision reads, from files made here."""

from __future__ import annotations

import hashlib
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch
from torchvision import datasets

from pyro_vae import InputError, data
from pyro_vae.data import stock

from .pictures import listed, noise, save


def idx(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    path.write_bytes(header + array.tobytes())


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("name", "folder", "upright"),
    [("kmnist", "KMNIST/raw", True), ("emnist-letters", "emnist", False)],
)
def test_idx_files(tmp_path: Path, name: str, folder: str, upright: bool) -> None:
    images, labels = noise(0, 6, 28, 28), np.arange(1, 7, dtype=np.uint8)
    for file in stock.TABLE[name].files:
        idx(tmp_path / folder / file, images if "images" in file else labels)
    found = data.load(name, tmp_path)
    expected = images if upright else images.transpose(0, 2, 1)
    assert np.array_equal(found.train[:, 0].numpy(), expected)
    assert listed(found.test_labels) == labels.tolist()


class Payload:
    """A pickle that writes a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def cifar(root: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """A data set like CIFAR, whose sums torchvision is told to expect."""
    kind: Any = getattr(datasets, str(stock.TABLE[name].torchvision))
    there = root / kind.base_folder
    there.mkdir(parents=True)
    rows = noise(1, 4, 3072)
    key = "labels" if name == "cifar10" else "fine_labels"
    for file in stock.TABLE[name].files:
        names = file == kind.meta["filename"]
        content = {kind.meta["key"]: ["a"]} if names else {"data": rows, key: [3, 1, 4, 1]}
        (there / file).write_bytes(pickle.dumps(content))
    for parts in ("train_list", "test_list"):
        sums = [[file, md5(there / file)] for file, _ in getattr(kind, parts)]
        monkeypatch.setattr(kind, parts, sums)
    meta = {**kind.meta, "md5": md5(there / kind.meta["filename"])}
    monkeypatch.setattr(kind, "meta", meta)
    return rows


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    rows = cifar(tmp_path, name, monkeypatch)
    found = data.load(name, tmp_path)
    # Its rows are 1,024 reds, greens and blues.
    assert np.array_equal(found.test.flatten(1).numpy(), rows)
    assert found.train.shape == ((20 if name == "cifar10" else 4), 3, 32, 32)
    assert listed(found.test_labels) == [3, 1, 4, 1]
    assert torch.equal(data.load(name, stock.find(stock.TABLE[name], tmp_path)).test, found.test)


@pytest.mark.parametrize("which", [0, -1], ids=["images", "names"])
@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_a_pickle_that_was_not_published_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, which: int
) -> None:
    cifar(tmp_path, name, monkeypatch)
    source = stock.TABLE[name]
    touched = tmp_path / "touched"
    hostile = pickle.dumps(Payload(touched))
    (tmp_path / source.folders[0] / source.files[which]).write_bytes(hostile)
    with pytest.raises(InputError, match="MD5 is not the published one") as caught:
        data.load(name, tmp_path)
    assert not touched.exists()
    assert "\n" not in str(caught.value)
    pickle.loads(hostile)
    assert touched.exists(), "the payload works where it is read"


def test_svhn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = noise(2, 5, 3, 32, 32), np.array([10, 1, 2, 3, 10])
    sums = {}
    for part in ("train", "test"):
        file = tmp_path / "svhn" / f"{part}_32x32.mat"
        file.parent.mkdir(exist_ok=True)
        scipy.io.savemat(file, {"X": images.transpose(2, 3, 1, 0), "y": labels[:, None]})
        sums[part] = ["", file.name, md5(file)]
    monkeypatch.setattr(datasets.SVHN, "split_list", sums)
    found = data.load("svhn", tmp_path)
    assert np.array_equal(found.train.numpy(), images)
    assert listed(found.test_labels) == [0, 1, 2, 3, 0]
    (tmp_path / "svhn" / "test_32x32.mat").write_bytes(b"another")
    with pytest.raises(InputError, match="not whole"):
        data.load("svhn", tmp_path)


def test_celeba(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there, names = tmp_path / "celeba", [f"{i:06}.jpg" for i in range(9)]
    for i, name in enumerate(names):
        save(there / "img_align_celeba" / name, noise(i, 22, 18, 3))
    heads = {"list_eval_partition.txt": "", "identity_CelebA.txt": ""}
    sums = []
    for file in stock.TABLE["celeba"].files:
        rows = "".join(f"{name} {i // 3}\n" for i, name in enumerate(names))
        (there / file).write_text(heads.get(file, "9\nfirst\n") + rows)
        sums.append(("", md5(there / file), file))
    monkeypatch.setattr(datasets.CelebA, "file_list", sums)
    found = data.load("celeba", tmp_path, resize=12, crop=12)
    assert found.train.shape == found.test.shape == (3, 3, 12, 12)
    assert data.load("celeba", tmp_path).train.shape == (3, 3, 22, 18)
    assert found.train_labels is None


NAMES = ["kmnist", "emnist-balanced", "cifar10", "cifar100", "svhn", "celeba"]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_missing_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PYRO_VAE_DATA", raising=False)
    with pytest.raises(InputError, match=rf"^{name} is not at hand.*--data-root.*--download"):
        data.load(name, tmp_path)
