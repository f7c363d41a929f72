"""What a run keeps of its images: which were held out, so that they stay so as data change."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from pyro_vae.data.arrays import Data, first
from pyro_vae.data.batch import Batch, Images, Loaded, plain, subset
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
        for row in contents_in(images, index, gaps):
            whole.update(row)
    return {"train": n, "sha256": whole.hexdigest()}


def digests_of(images: Images | None) -> str:
    """The first 6 bytes of the SHA-256 of each image's content, one after the other, in base64."""
    found = [] if images is None or _is_stream(plain(images)) else digests_in(images)
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
    held_out, test_part = set(_read(kept["digests"])), set(_read(described.get("test", "")))
    known = held_out | test_part
    asked, gaps = first(data, described.get("images")), "gaps" in kept
    test = digests_in(asked.test, gaps)
    now = _trained_on(asked.train, gaps)
    if now == {name: kept[name] for name in now}:
        if known.issuperset(test):
            return data, None
        # What was trained on is all there: of the others none was, unless it is there twice.
        if _is_whole(asked.train) and not set(digests_in(asked.train, gaps)) & {*test} - known:
            return data, (
                f"{name}: held-out images have changed since fit, training images have not"
            )
    parts = {"test": known}
    if data.validation is not None and described.get("test") is not None:
        parts = {"test": test_part, "validation": held_out}
    return _divided(data, parts, kept, name, same, gaps)


def _divided(
    data: Data, known: dict[str, set[bytes]], kept: Fields, name: str, same: bool, gaps: bool
) -> tuple[Data, str | None]:
    """Those that were held out, wherever they are now, and all others."""
    parts = {
        "train": (data.train, data.train_labels),
        "test": (data.test, data.test_labels),
        "validation": (data.validation, data.validation_labels),
    }
    digests = {
        part: digests_in(images, gaps) for part, (images, _) in parts.items() if images is not None
    }
    either = set().union(*known.values())
    number = sum(map(len, digests.values()))
    if not any(digest in either for found in digests.values() for digest in found):
        # Of another data set, which nothing is known of, there is nothing to say.
        said = (
            f"{name} has changed since fit: it holds none of the {kept['held_out']} images that "
            "were held out, so those scored may be ones that it was trained on"
        )
        return data, said if same and either else None

    def those(part: str, wanted: set[bytes], there: bool = True) -> tuple[Any, Tensor | None]:
        mask = torch.tensor([(d in wanted) is there for d in digests[part]], dtype=torch.bool)
        return _some(*parts[part], mask)

    changed: dict[str, Any] = {}
    changed["train"], changed["train_labels"] = those("train", either, there=False)
    for part, wanted in known.items():
        elsewhere = [each for each in digests if each not in (part, "validation")]
        elsewhere += ["validation"] if "validation" in known and part != "validation" else []
        found, left = [those(part, wanted)], wanted.difference(digests[part])
        for source in elsewhere:
            found.append(those(source, left))
            left = left.difference(digests[source])
        changed[part], changed[f"{part}_labels"] = _joined(found)
    if data.validation is not None and "validation" not in known:
        validation, labels = those("validation", either)
        changed |= {"validation": validation, "validation_labels": labels}
    # Of three parts what was held out is the validation part, and the test part is beside it.
    before = kept["train"] + (len(either) if "validation" in known else kept["held_out"])
    said = (
        f"{name} has changed since fit, {before} images then and {number} now: scored are only the "
        f"{len(changed['test'])} images that were held out then and are still there; others may "
        "have been trained on"
    )
    return data._replace(**changed), said


def _joined(found: list[tuple[Any, Tensor | None]]) -> tuple[Any, Tensor | None]:
    """Images and labels of several parts, one after the other."""
    images, labels = found[0]
    for further, classes in found[1:]:
        if isinstance(images, Tensor) and isinstance(further, Tensor):
            images = torch.cat([images, further])
        elif isinstance(images, Batch) and isinstance(further, Batch):
            images = Batch.cat([images, further])
        elif isinstance(images, Stored) and isinstance(further, Stored):
            images = images.beside(further)
        if labels is not None and classes is not None:
            labels = torch.cat([labels, classes])
    return images, labels


def _some(images: Images, labels: Tensor | None, mask: Tensor) -> tuple[Images, Tensor | None]:
    index = mask.nonzero()[:, 0]
    return subset(images, index), None if labels is None else labels[index]


def _read(digests: object) -> Iterator[bytes]:
    try:
        whole = base64.b64decode(str(digests), validate=True)
    except ValueError:  # damaged by hand
        return
    for start in range(0, len(whole), _BYTES):
        yield whole[start : start + _BYTES]


def digests_in(images: Images, gaps: bool = True) -> list[bytes]:
    """The first 6 bytes of the SHA-256 of each image's content."""
    rows = contents_in(images, torch.arange(len(images)), gaps)
    return [hashlib.sha256(row).digest()[:_BYTES] for row in rows]


def contents_in(images: Images, index: Tensor, gaps: bool = True) -> Iterator[bytes]:
    """What each row of an index holds, and after it, where it has gaps, which they are.

    Runs of earlier versions were kept without: a gap was the value that stands in it.
    """
    for part in index.split(_AT_A_TIME) if len(index) else ():
        some: Loaded = images[part.to(images.device)]
        rows = (row.tobytes() for row in plain(some).cpu().numpy())
        missing = missing_in(some) if gaps else None
        if missing is None:
            yield from rows
            continue
        holes = (row.tobytes() if row.any() else b"" for row in missing.cpu().numpy())
        yield from map(bytes.__add__, rows, holes)


def missing_in(images: Images) -> Tensor | None:
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


def renamed(before: Data, after: Data) -> Data:
    """Data that are divided anew, with what each image was called before.

    Images are known by their content; of two that are alike the first one's name is taken.

    Args:
        before: With names.
        after: The same images, or some of them, in other parts.
    """
    if after is before or not before.names:
        return after
    known: dict[bytes, str] = {}
    for part, images in parts_of(before):
        for i, digest in enumerate(digests_in(images)):
            known.setdefault(digest, before.name(part, i))
    names = {
        part: [
            known.get(digest, after.name(part, i)) for i, digest in enumerate(digests_in(images))
        ]
        for part, images in parts_of(after)
    }
    return after._replace(names=names)


def parts_of(data: Data) -> Iterator[tuple[str, Images]]:
    """The parts that there are, by their names."""
    for part in ("train", "validation", "test"):
        images = getattr(data, part)
        if images is not None:
            yield part, images
