"""What a run keeps of its images: which were held out, so that they stay so as data change."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from pyro_vae.data.arrays import Data, first
from pyro_vae.data.batch import Batch, Images, Loaded, plain
from pyro_vae.data.stored import Stored
from pyro_vae.types import JSON, Fields

__all__: list[str] = []

_BYTES = 6  # of an image's digest: a million images and a million others share 4 of them
_AT_A_TIME = 250
_WHOLE = 2**30  # bytes of training images up to which all of them are read
_SOME = 1000  # of more, so many stand for all


def kept_of(train: Images, held_out: Images | None) -> JSON:
    """What is kept of a run's images, as plain data for its configuration.

    Args:
        train: Training images, (N, *data_shape).
        held_out: Held-out ones, or None.

    Returns:
        ``train``, their number; ``sha256`` of their content (of 1,000 of them where they exceed
        1 GiB, of none of a stream); ``held_out``, the number of the others; ``digests`` of these,
        see ``digests_of``; and that all of this tells gaps from zeros (``gaps``).
    """
    return {
        **_trained_on(train),
        "held_out": 0 if held_out is None else len(held_out),
        "digests": digests_of(held_out),
        "gaps": True,
    }


def _trained_on(images: Images, gaps: bool = True) -> JSON:
    train = plain(images)
    n, shape = len(train), tuple(train.shape[1:])
    index = torch.arange(n)
    if not _is_whole(train):
        index = torch.arange(_SOME) * (n - 1) // (_SOME - 1)
    whole = hashlib.sha256(f"{shape} {train.dtype}".encode())
    if not _is_stream(train):
        for part in index.split(_AT_A_TIME):
            whole.update(b"".join(_contents(images, part, gaps)))
    return {"train": n, "sha256": whole.hexdigest()}


def digests_of(images: Images | None) -> str:
    """The first 6 bytes of the SHA-256 of each image's content, one after the other, in base64."""
    found = [] if images is None or _is_stream(plain(images)) else _digests(images)
    return base64.b64encode(b"".join(found)).decode("ascii")


def as_kept(data: Data, config: Fields, name: str, same: bool) -> tuple[Data, str | None]:
    """The data with those images held out that a run held out, also where the data have changed.

    Images are known by their content, whatever their names and their order.

    Args:
        data: All of the data as they are now.
        config: The run's configuration; runs of earlier versions kept nothing.
        name: What the data are called.
        same: Whether they are asked for as those that the run was trained on.

    Returns:
        The data, as they are if nothing has changed, and in a line what has, or None.
    """
    kept, described = config.get("images"), config.get("data") or {}
    if not isinstance(kept, Mapping) or not {"train", "sha256", "held_out", "digests"} <= {*kept}:
        return data, None
    known = {*_read(kept["digests"]), *_read(described.get("test", ""))}
    asked, gaps = first(data, described.get("images")), "gaps" in kept
    test = _digests(asked.test, gaps)
    now = _trained_on(asked.train, gaps)
    if now == {name: kept[name] for name in now}:
        if known.issuperset(test):
            return data, None
        # What was trained on is all there: of the others none was, unless it is there twice.
        if _is_whole(asked.train) and not set(_digests(asked.train, gaps)) & {*test} - known:
            return data, (
                f"{name}: held-out images have changed since fit, training images have not"
            )
    return _divided(data, known, kept, name, same, gaps)


def _divided(
    data: Data, known: set[bytes], kept: Fields, name: str, same: bool, gaps: bool
) -> tuple[Data, str | None]:
    """Those that were held out, wherever they are now, and all others."""
    parts = {"train": data.train, "test": data.test, "validation": data.validation}
    there = {part: images for part, images in parts.items() if images is not None}
    held = {
        part: torch.tensor([digest in known for digest in _digests(images, gaps)], dtype=torch.bool)
        for part, images in there.items()
    }
    number = sum(map(len, there.values()))
    found = sum(int(mask.sum()) for mask in held.values())
    if not found:
        # Of another data set, which nothing is known of, there is nothing to say.
        said = (
            f"{name} has changed since fit: it holds none of the {kept['held_out']} images that "
            "were held out, so those scored may be ones that it was trained on"
        )
        return data, said if same and known else None
    train, train_labels = _some(data.train, data.train_labels, ~held["train"])
    test, test_labels = _some(data.test, data.test_labels, held["test"])
    moved, moved_labels = _some(data.train, data.train_labels, held["train"])
    if isinstance(test, Tensor) and isinstance(moved, Tensor):
        test = torch.cat([test, moved])
    elif isinstance(test, Batch) and isinstance(moved, Batch):
        test = Batch.cat([test, moved])
    elif isinstance(test, Stored) and isinstance(moved, Stored):
        test = test.beside(moved)
    if test_labels is not None and moved_labels is not None:
        test_labels = torch.cat([test_labels, moved_labels])
    before = kept["train"] + kept["held_out"]
    said = (
        f"{name} has changed since fit, {before} images then and {number} now: scored are only the "
        f"{len(test)} images that were held out then and are still there; others may have been "
        "trained on"
    )
    changed = data._replace(
        train=train, train_labels=train_labels, test=test, test_labels=test_labels
    )
    if data.validation is not None:
        validation, labels = _some(data.validation, data.validation_labels, held["validation"])
        changed = changed._replace(validation=validation, validation_labels=labels)
    return changed, said


def _some(images: Images, labels: Tensor | None, mask: Tensor) -> tuple[Images, Tensor | None]:
    index = mask.nonzero()[:, 0]
    some = images[index] if isinstance(images, Tensor) else images.subset(index)
    return some, None if labels is None else labels[index]


def _read(digests: object) -> Iterator[bytes]:
    try:
        whole = base64.b64decode(str(digests), validate=True)
    except ValueError:  # damaged by hand
        return
    for start in range(0, len(whole), _BYTES):
        yield whole[start : start + _BYTES]


def _digests(images: Images, gaps: bool = True) -> list[bytes]:
    found: list[bytes] = []
    if not len(images):
        return found
    for part in torch.arange(len(images)).split(_AT_A_TIME):
        rows = _contents(images, part, gaps)
        found += [hashlib.sha256(row).digest()[:_BYTES] for row in rows]
    return found


def _contents(images: Images, index: Tensor, gaps: bool) -> list[bytes]:
    """What each row of an index holds, and after it, where it has gaps, which they are.

    Runs of earlier versions were kept without: a gap was the value that stands in it.
    """
    some: Loaded = images[index.to(images.device)]
    rows = [row.tobytes() for row in plain(some).cpu().numpy()]
    missing = _missing(some) if gaps else None
    if missing is None:
        return rows
    holes = [row.tobytes() if row.any() else b"" for row in missing.cpu().numpy()]
    return [row + hole for row, hole in zip(rows, holes, strict=True)]


def _missing(images: Images) -> Tensor | None:
    """Where rows have gaps, in the order of :func:`plain`; None where nothing tells of any."""
    if not isinstance(images, Batch) or images.mask is None:
        return None
    if not isinstance(images.x, Mapping):
        return torch.logical_not(images.mask).flatten(1)
    there = [
        images.mask.get(name, torch.ones_like(part, dtype=torch.bool)).flatten(1)
        for name, part in images.x.items()
    ]
    return ~torch.cat(there, 1)


def _is_stream(images: Images) -> bool:
    return isinstance(images, Stored) and images.window is not None


def _is_whole(images: Images) -> bool:
    images = plain(images)
    return images.shape.numel() * images.dtype.itemsize <= _WHOLE
