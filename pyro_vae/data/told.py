"""What was read: a data set's number, shape, parts and range, as a user wants to see them."""

from __future__ import annotations

import torch
from torch import Tensor

from pyro_vae.data.arrays import Data
from pyro_vae.data.batch import plain
from pyro_vae.types import JSON

__all__: list[str] = []

_LOOKED_AT = 1000  # images on disk that the range is read off


def told(data: Data) -> JSON:
    """What was read, as plain data.

    Args:
        data: The data set.

    Returns:
        ``shape`` of one image, ``levels`` (whether they are of 8 bits), ``low`` and ``high`` of the
        training images (of 1,000 of them where they are on disk), the number of images that
        ``train``, ``validation`` and ``test`` (0 where there is no such part), of ``classes`` (None
        without labels), and what was ``passed_over``. Of a table its ``columns``, how many of them
        networks see ``standardised``, and the share of values that are ``missing`` in place of the
        first four.
    """
    if data.table is not None:
        gaps = torch.stack([column.values.isnan().double().mean() for column in data.table.columns])
        return {
            "columns": [column.name for column in data.table.columns],
            "standardised": sum(column.kind == "real" for column in data.table.columns),
            "missing": float(gaps.mean()),
            "train": len(data.train),
            "validation": 0 if data.validation is None else len(data.validation),
            "test": len(data.test),
            "passed_over": ", ".join(data.table.passed_over),
        }
    images = plain(data.train)
    train = images if isinstance(images, Tensor) else images.some(_LOOKED_AT)
    parts = {"train": data.train, "validation": data.validation, "test": data.test}
    labels = [part for part in (data.train_labels, data.test_labels) if part is not None]
    return {
        "shape": list(images.shape[1:]),
        "levels": images.dtype == torch.uint8,
        "low": float(train.min()),
        "high": float(train.max()),
        **{part: 0 if each is None else len(each) for part, each in parts.items()},
        "classes": len(torch.cat(labels).unique()) if labels else None,
        "passed_over": data.passed_over,
    }


def told_words(data: Data, name: str) -> str:
    """What was read, in a line.

    Args:
        data: The data set.
        name: What it is called.

    Example:
        >>> from pyro_vae.data import load
        >>> told_words(load("mnist-5k"), "mnist-5k")
        'mnist-5k: 5000 images 1x28x28, levels 0 to 255, 4500 train and 500 test, 10 classes'
    """
    found = told(data)
    parts = [f"{found[part]} {part}" for part in ("train", "validation", "test") if found[part]]
    count = sum(found[part] for part in ("train", "validation", "test"))
    if data.table is not None:
        said = f"{name}: {count} rows of {len(found['columns'])} columns, "
        said += f"{found['missing']:.1%} missing, {', '.join(parts[:-1])} and {parts[-1]}"
        if found["standardised"]:
            columns = "columns" if found["standardised"] > 1 else "column"
            said += f"; {found['standardised']} real {columns} standardised, scores in "
            said += "their own unit" if found["standardised"] > 1 else "its own unit"
        over = found["passed_over"]
        return said + (f"; passed over: {over}" if over else "")
    shape = "x".join(map(str, found["shape"]))
    what = f"images {shape}" if len(found["shape"]) > 1 else f"vectors of {shape} numbers"
    said = f"{name}: {count} {what}, {'levels' if found['levels'] else 'numbers'} "
    said += f"{found['low']:g} to {found['high']:g}, {', '.join(parts[:-1])} and {parts[-1]}"
    if found["classes"] is not None:
        said += f", {found['classes']} classes"
    return said + (f"; passed over: {found['passed_over']}" if found["passed_over"] else "")
