"""Image files for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from pyro_vae import data


def save(path: Path, levels: np.ndarray, mode: str | None = None) -> np.ndarray:
    """Write levels (H, W) or (H, W, C), as the mode that they would have or another."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(levels)
    (image if mode is None else image.convert(mode)).save(path)
    return levels


def noise(number: int, *shape: int) -> np.ndarray:
    """Random levels."""
    return np.random.default_rng(number).integers(0, 256, shape, dtype=np.uint8)


def folder(path: Path, count: int, *shape: int) -> np.ndarray:
    """A flat folder of random images."""
    shape = shape or (8, 8)
    return np.stack([save(path / f"{i:03}.png", noise(i, *shape)) for i in range(count)])


def listed(labels: Tensor | None) -> list[int]:
    """Labels that there must be."""
    assert labels is not None
    found: list[int] = labels.tolist()
    return found


def contents(found: data.Data) -> list[bytes]:
    """Every image of all parts."""
    parts = (found.train, found.validation, found.test)
    return sorted(
        bytes(image.numpy()) for part in parts if part is not None for image in data.looked_at(part)
    )
