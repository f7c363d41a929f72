"""What every part is given: the digits, how long to train, and where its pictures go."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

import pyro_vae as pv
from pyro_vae.plots.runs import draw_grid

__all__ = ["Row", "Setting"]

Row = dict[str, Any]


@dataclass(frozen=True)
class Setting:
    """The digits, how long to train, and where the pictures go.

    Attributes:
        epochs: Passes over the training digits of 36 steps each.
        folder: For PNGs.
        seed: Of weights, batches and noise.
    """

    epochs: int = 30
    folder: Path = Path("docs/pictures")
    seed: int = 0

    @cached_property
    def digits(self) -> pv.data.Data:
        """The embedded digits, uint8."""
        return pv.data.load("mnist-5k")

    @cached_property
    def train(self) -> Tensor:
        """Training digits on [0, 1]."""
        return self.digits.train.float() / 255

    @cached_property
    def test(self) -> Tensor:
        """Held-out digits on [0, 1]."""
        return self.digits.test.float() / 255

    @cached_property
    def shown(self) -> Tensor:
        """Where the first held-out digit of each class is."""
        labels = self.digits.test_labels
        assert labels is not None
        return torch.stack([(labels == digit).nonzero()[0, 0] for digit in range(10)])

    def grid(self, name: str, rows: list[tuple[str, Tensor]], title: str = "") -> None:
        """Rows of pictures on one grey scale from 0 to 1, as a small grey ``name``.png."""
        path = self.path(name)
        draw_grid(rows, path, title)
        with Image.open(path) as drawn:
            grey = drawn.convert("L")
        grey.save(path, optimize=True)

    def path(self, name: str) -> Path:
        """The PNG of that name."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / f"{name}.png"
