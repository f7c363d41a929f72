"""Data sets of numbered images, in every form and in parts."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from click.testing import Result

from pyro_vae import data

from .pictures import noise, save

Run = Callable[..., Result]
COUNT = 60
TINY = {"epochs": 1, "hidden": 8, "latent_dim": 2, "batch_size": 16}
SMALL = ("--epochs", 1, "--hidden", 8, "--latent-dim", 2)


def image(number: int) -> np.ndarray:
    """An image whose first pixel is its number, and whose second its class."""
    levels = noise(number, 8, 8)
    levels[0, :2] = number, number % 3
    return levels


def as_array(path: Path) -> str:
    np.save(path / "a.npy", np.stack([image(i) for i in range(COUNT)]))
    return str(path / "a.npy")


def as_labelled(path: Path) -> str:
    images = np.stack([image(i) for i in range(COUNT)])
    np.savez(path / "a.npz", images=images, labels=np.arange(COUNT) % 3)
    return str(path / "a.npz")


def as_folder(path: Path) -> str:
    for i in range(COUNT):
        save(path / "a" / "xyz"[i % 3] / f"{i:02}.png", image(i))
    return str(path / "a")


def as_shards(path: Path) -> str:
    for shard in range(2):
        with tarfile.open(path / f"a-{shard}.tar", "w") as file:
            for i in range(shard * 30, shard * 30 + 30):
                buffer = io.BytesIO()
                np.save(buffer, image(i)[None])
                for suffix, content in (("npy", buffer.getvalue()), ("cls", f"{i % 3}".encode())):
                    info = tarfile.TarInfo(f"{i:02}.{suffix}")
                    info.size = len(content)
                    file.addfile(info, io.BytesIO(content))
    return str(path / "a-{0..1}.tar")


def numbers(images: Any) -> list[int]:
    """Which images these are."""
    found: list[int] = data.plain(images)[:].flatten(1)[:, 0].tolist()
    return found


def parted_file(path: Path, train: int = 40, test: int = 20) -> str:
    """A file of two parts with their labels: from 0 on for training, from 100 on for test."""
    np.savez(
        path / "two.npz",
        train=np.stack([image(i) for i in range(train)]),
        train_labels=np.arange(train) % 3,
        test=np.stack([image(100 + i) for i in range(test)]),
        test_labels=np.arange(100, 100 + test) % 3,
    )
    return str(path / "two.npz")


def three(path: Path) -> Path:
    """A folder of three parts, 20 images each."""
    for part, first in {"train": 0, "val": 40, "test": 60}.items():
        for i in range(first, first + 20):
            save(path / part / f"{i}.png", image(i))
    return path
