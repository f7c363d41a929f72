"""What is in a data set, seen before anything is trained on it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyro_vae.data.arrays import Data
from pyro_vae.data.batch import Batch, Images, Loaded, looked_at, plain
from pyro_vae.data.causes import range_of
from pyro_vae.data.kept import contents_in, missing_in, parts_of
from pyro_vae.data.stored import LOOKED_AT
from pyro_vae.data.told import told
from pyro_vae.types import JSON

__all__: list[str] = []

BINS = 8
"""Of a histogram."""

_AT_A_TIME = 1000
_MOST = 5 * 10**7  # floats of which mean, histogram and distinct values are taken

_FEW = 5
"""Images that are named."""


def inspected(data: Data) -> JSON:
    """What is in a data set; of images on disk 10,000 of each part are looked at.

    Args:
        data: The data set.

    Returns:
        What :func:`~pyro_vae.data.told.told` gives, ``looked_at`` (how many of each part), and
        ``duplicates`` (``within`` and ``between`` parts, each with a number and some of the pairs
        by their names). Of images and vectors also ``mean`` and ``deviation``, ``distinct`` values,
        ``whole`` (whether all are whole numbers), ``histogram`` (``edges`` and ``shares``),
        ``constant`` (pixels that are the same in every training image, of so many), ``flat``
        (images of one value, some of them by name), ``spread``, the ratio of the largest to the
        least deviation of a pixel that varies, and of floats the ``range`` that suits them.
    """
    some = {name: looked_at(images) for name, images in parts_of(data)}
    index = {name: _index(images) for name, images in parts_of(data)}
    found = {
        **told(data),
        "looked_at": {name: len(part) for name, part in some.items()},
        "duplicates": _duplicates(data, some, index),
    }
    if data.table is None:
        found |= _values(plain(some["train"])) | {"flat": _flat(data, some, index)}
    return found


def _index(images: Images) -> Sequence[int]:
    """Which images of a part :func:`looked_at` gives."""
    if isinstance(images, Tensor) or (isinstance(images, Batch) and images.in_memory):
        return range(len(images))
    source = plain(images)
    found: list[int] = source.spread(LOOKED_AT).tolist()  # type: ignore[union-attr]
    return found


def _values(x: Tensor) -> JSON:
    flat = x.flatten(1)
    constant = flat.amin(0) == flat.amax(0)
    spread = None
    if x.dim() == 2 and not bool(constant.all()):
        deviations = flat[:, ~constant].double().std(0, correction=0)
        spread = float(deviations.max() / deviations.min())
    return {
        **(_of_levels(x) if x.dtype == torch.uint8 else _of_floats(x)),
        "constant": {"pixels": int(constant.sum()), "of": flat.shape[1]},
        "spread": spread,
    }


def _of_levels(x: Tensor) -> JSON:
    parts = (torch.bincount(part.flatten().int(), minlength=256) for part in x.split(_AT_A_TIME))
    counts = torch.stack(list(parts)).sum(0).double()
    shares, levels = counts / counts.sum(), torch.arange(256.0, dtype=torch.float64)
    mean = float(shares @ levels)
    return {
        "mean": mean,
        "deviation": float(shares @ (levels - mean).square()) ** 0.5,
        "distinct": int((counts > 0).sum()),
        "whole": True,
        "histogram": {
            "edges": [256.0 * i / BINS for i in range(BINS + 1)],
            "shares": shares.reshape(BINS, -1).sum(1).tolist(),
        },
        "range": None,
    }


def _of_floats(x: Tensor) -> JSON:
    step = -(-x.numel() // _MOST)
    values = x[::step].double()
    counts, edges = np.histogram(values.numpy(), BINS)
    return {
        "mean": float(values.mean()),
        "deviation": float(values.std(correction=0)),
        "distinct": len(values.unique()),
        "whole": bool((values == values.round()).all()),
        "histogram": {"edges": edges.tolist(), "shares": (counts / values.numel()).tolist()},
        "range": list(range_of(x)),
    }


def _flat(data: Data, some: dict[str, Any], index: dict[str, Sequence[int]]) -> JSON:
    """Images of one value: dead cameras and failed conversions."""
    names, count = [], 0
    for part, images in some.items():
        rows = plain(images).flatten(1)
        alike = rows.amin(1) == rows.amax(1)
        same = alike.nonzero()[:, 0].tolist() if rows.shape[1] > 1 else []
        count += len(same)
        names += [data.name(part, index[part][i]) for i in same[:_FEW]]
    return {"images": count, "some": names[:_FEW]}


def _duplicates(data: Data, some: dict[str, Any], index: dict[str, Sequence[int]]) -> JSON:
    """Images that are there more than once, in one part or in two."""
    first: dict[bytes, tuple[str, int]] = {}
    found: dict[str, Any] = {
        kind: {"images": 0, "some": list[list[str]]()} for kind in ("within", "between")
    }
    for part, images in some.items():
        for place, row in enumerate(_contents(images)):
            if row is None:
                continue
            here = part, index[part][place]
            seen = first.setdefault(row, here)
            if seen == here:
                continue
            kind = found["within" if seen[0] == part else "between"]
            kind["images"] += 1
            if len(kind["some"]) < _FEW:
                kind["some"].append([_called(data, *where) for where in (here, seen)])
    return found


def _called(data: Data, part: str, index: int) -> str:
    """A name with its part in front."""
    name = data.name(part, index)
    return name if name.startswith(f"{part} ") else f"{part} {name}"


def _contents(images: Loaded) -> Iterator[bytes | None]:
    """A digest of each row and of where it has gaps; None for one of gaps alone."""
    missing = missing_in(images)
    empty = [False] * len(images) if missing is None else missing.all(1).tolist()
    rows = contents_in(images, torch.arange(len(images)))
    for row, nothing in zip(rows, empty, strict=True):
        yield None if nothing else hashlib.sha256(row).digest()
