"""Bits of validation and test images, drawn once: figures of others are of the same ones."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch
from numpy.random import RandomState
from torch import Tensor

from pyro_vae.data.arrays import Data
from pyro_vae.data.batch import Images, plain
from pyro_vae.data.stored import Stored, limit
from pyro_vae.errors import InputError
from pyro_vae.types import JSON

__all__: list[str] = []

_AT_A_TIME = 1000


def binarised(data: Data, seed: int) -> tuple[Data, JSON]:
    """The data with validation and test images made bits, levels 0 and 255, drawn once.

    They are those of ``numpy.random.RandomState(seed)``, ``binomial(1, k / 255)``, of all
    validation images first and then of the test images; training images stay as they are.

    Returns:
        The data; and ``seed``, and of each part ``images``, ``sum`` and ``sha256`` of its bits as
        uint8, row by row, and ``grey``, what the images that they were drawn from score on them in
        nats per image, which no model exceeds in expectation.

    Raises:
        InputError: If images are no 8-bit levels, or do not fit in memory.
    """
    generator, changed, told = RandomState(seed), {}, dict[str, Any](seed=seed)
    for part in ("validation", "test"):
        images = getattr(data, part)
        if images is not None:
            bits, nats = _bits(images, generator)
            digest = hashlib.sha256(bits.tobytes()).hexdigest()
            total = int(bits.sum(dtype=np.int64))
            told[part] = {"images": len(bits), "sum": total, "sha256": digest, "grey": nats}
            changed[part] = torch.from_numpy(bits * np.uint8(255))
    return data._replace(**changed), told


def bits_words(told: JSON) -> str:
    """What bits there are, in a line."""
    parts = (
        f"{part} sum {told[part]['sum']:,}, SHA-256 {told[part]['sha256']}"
        for part in ("validation", "test")
        if part in told
    )
    return f"bits of RandomState({told['seed']}): {'; '.join(parts)}"


def digests_of_bits(told: JSON | None) -> list[str]:
    """The digests of what :func:`binarised` told, by which bits are known; none of no bits."""
    return [part["sha256"] for part in (told or {}).values() if isinstance(part, dict)]


def _bits(images: Images, generator: RandomState) -> tuple[Any, float]:
    """Bits of images, and how their own grey levels score them, in nats per image."""
    if images.dtype != torch.uint8:
        raise InputError("binarise fixed takes 8-bit images, these are floats")
    if isinstance(images, Stored) and images.nbytes > limit():
        raise InputError(
            f"binarise fixed keeps bits in memory, and {len(images):,} images do not fit: "
            "binarise stochastic draws them as they are read"
        )
    whole, nats = np.empty(tuple(images.shape), np.uint8), 0.0
    for start in range(0, len(images), _AT_A_TIME):
        rows = slice(start, start + _AT_A_TIME)
        levels: Tensor = plain(images)[rows]
        grey = levels.cpu().numpy() / 255
        whole[rows] = generator.binomial(1, grey)
        nats += float(np.log(np.where(whole[rows] == 1, grey, 1 - grey)).sum())
    return whole, nats / len(whole)
