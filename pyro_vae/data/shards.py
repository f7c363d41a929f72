"""Shards: images in .tar files, as the webdataset package writes them, read in any order.

A tar file that is not compressed has every member's bytes at a place of its own. So the shards'
headers are read once, and an image is then read at its offset: batches are drawn from all shards
alike, and a resumed run goes on to the very image, neither of which a stream with a shuffle buffer
can offer. Nothing is unpacked to disk and nothing unpickled. The index takes 24 bytes an image.
"""

from __future__ import annotations

import tarfile
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL.ContainerIO import ContainerIO

from pyro_vae.data import files
from pyro_vae.data.arrays import Data
from pyro_vae.data.braces import expand
from pyro_vae.data.pictures import SUFFIXES as ALL_SUFFIXES
from pyro_vae.data.pictures import Fit, each
from pyro_vae.data.stored import Images, Stored, limit
from pyro_vae.data.survey import images_of
from pyro_vae.errors import InputError

__all__: list[str] = []

# Those whose decoder reads the file by its handle would begin at the shard's first byte.
_IMAGES = tuple(suffix for suffix in ALL_SUFFIXES if suffix not in (".tif", ".tiff"))
_BLOCK = 512
_ARRAY, _LABEL, _PASSED_OVER = ".npy", ".cls", (".json", ".txt")
_COMPRESSED = {
    b"\x1f\x8b": "gunzip",
    b"BZh": "bunzip2",
    b"\xfd7zXZ": "unxz",
    b"\x28\xb5\x2f\xfd": "unzstd",
}
_ACCEPTED = f"images ({', '.join(_IMAGES)}) or {_ARRAY}, {_LABEL} for their classes"


def read(pattern: str, resize: int | None = None, crop: int | None = None) -> Data:
    """Images of shards; a tenth is held out, always the same.

    A sample is one image or array and perhaps its class, under one name with several suffixes:
    ``a/0001.png`` and ``a/0001.cls``, one after the other. Images are read as those of a folder
    (see ``read``), ``.npy`` members without unpickling; ``.json`` and
    ``.txt`` members are passed over, as are names that begin with a dot. What exceeds a quarter of
    the machine's memory stays in the shards and is read batch by batch.

    Args:
        pattern: Path of a shard, or of several by braces: ``shards-{000..009}.tar``.
        resize: Of images, scale the shorter side to so many pixels, or None.
        crop: Of images, then cut a square of so many pixels from the centre, or None.

    Raises:
        InputError: If a shard is missing, compressed or damaged, or holds anything else.
    """
    found = _index(expand(pattern), pattern)
    images: Images
    if found.arrays:
        if (resize, crop) != (None, None):
            raise InputError(f"--resize and --crop are for image files, {pattern} holds arrays")
        stored = Stored(_Arrays(found.members))
        images = stored[:] if stored.nbytes <= limit() else stored
    else:
        (images,) = images_of([found.members], Fit(resize, crop))
    labels = None
    if found.labels:
        labels = torch.from_numpy(np.array(found.labels, dtype=np.int64))
    try:
        return files.parts(images, labels)
    except InputError as error:
        raise InputError(f"{pattern}: {error}") from None


@dataclass(frozen=True)
class _Member:
    """Part of a shard, read like a file."""

    path: Path
    offset: int
    size: int

    @contextmanager
    def open(self, mode: Literal["rb"]) -> Iterator[IO[bytes]]:
        """The member's bytes."""
        with self.path.open(mode) as stream:
            yield ContainerIO(stream, self.offset, self.size)

    def __str__(self) -> str:
        """Shard and name, for which the shard's headers are read again."""
        try:
            for info in _headers(self.path):
                if info.offset_data == self.offset:
                    return f"{self.path}: {info.name}"
        except InputError:
            pass
        return f"{self.path}: byte {self.offset}"


class _Members(Sequence[_Member]):
    """Members of shards by their number; each is made when it is asked for."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths
        self._shard, self._offset, self._size = array("q"), array("q"), array("q")

    def add(self, shard: int, info: tarfile.TarInfo) -> None:
        """Append a member of a shard."""
        self._shard.append(shard)
        self._offset.append(info.offset_data)
        self._size.append(info.size)

    def __len__(self) -> int:
        return len(self._shard)

    def __getitem__(self, index: Any) -> Any:
        return _Member(self.paths[self._shard[index]], self._offset[index], self._size[index])


class _Header(NamedTuple):
    """What a .npy member says of itself."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    start: int


class _Arrays:
    """Arrays in .npy members, read like one array (N, ...)."""

    def __init__(self, members: _Members) -> None:
        self.members = members
        first = _header(members[0])
        for i, header in enumerate(each(_header, members)):
            if (header.shape, header.dtype) != (first.shape, first.dtype):
                raise InputError(
                    f"arrays must be alike: {members[0]} is {first.dtype} {first.shape}, "
                    f"{members[i]} {header.dtype} {header.shape}"
                )
        self.shape, self.dtype = (len(members), *first.shape), first.dtype

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[np.generic]:
        out = np.empty((len(rows), *self.shape[1:]), self.dtype)
        members = [self.members[row] for row in rows]
        for place, values in zip(out, each(self._values, members), strict=True):
            place[...] = values
        return out

    def _values(self, member: _Member) -> NDArray[np.generic]:
        header = _header(member)
        try:
            with member.open("rb") as stream:
                stream.seek(header.start)
                values = np.frombuffer(stream.read(), header.dtype, prod(header.shape))
        except (OSError, ValueError):
            raise InputError(f"{member} cannot be read any more") from None
        if (header.shape, header.dtype) != (self.shape[1:], self.dtype):
            raise InputError(f"{member} has changed: it was {self.dtype} {self.shape[1:]}")
        return values.reshape(header.shape, order="F" if header.fortran else "C")


def _header(member: _Member) -> _Header:
    """The header of a .npy member, whose content is as long as it says.

    Raises:
        InputError: If it is none, or holds objects or no image or vector.
    """
    known = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    try:
        with member.open("rb") as stream:
            shape, fortran, dtype = known[np.lib.format.read_magic(stream)](stream)
            start = stream.tell()
    except (KeyError, ValueError, OSError) as error:
        reason = getattr(error, "strerror", None) or "not a .npy file of version 1 or 2"
        raise InputError(f"{member} cannot be read: {reason}") from None
    if dtype.kind not in "uifb":
        raise InputError(f"{member} holds no numbers but {dtype}")
    if len(shape) not in (1, 2, 3) or 0 in shape:
        raise InputError(f"{member} has shape {shape}: it must be (C, H, W), (H, W) or (D,)")
    if start + prod(shape) * dtype.itemsize != member.size:
        raise InputError(f"{member} is not whole")
    return _Header(shape, dtype, fortran, start)


class _Index(NamedTuple):
    """Images, or arrays, of shards, and their classes where they have any."""

    members: _Members
    arrays: bool
    labels: array[int]


@dataclass
class _Sample:
    """Members of one name so far."""

    name: str
    image: tarfile.TarInfo | None = None
    label: int | None = None


def _index(paths: Sequence[Path], pattern: str) -> _Index:
    """Find all samples.

    Raises:
        InputError: If a shard cannot be read or holds what is not accepted.
    """
    members, labels, kinds = _Members(paths), array("q"), set[bool]()
    for number, path in enumerate(paths):
        for sample in _samples(path):
            if sample.image is None:
                raise InputError(f"{path}: {sample.name} has a class and no image")
            members.add(number, sample.image)
            kinds.add(sample.image.name.lower().endswith(_ARRAY))
            if sample.label is not None:
                labels.append(sample.label)
            if len(kinds) > 1:
                raise InputError(f"{path}: {sample.image.name} is beside images or arrays: either")
            if labels and len(labels) != len(members):
                raise InputError(f"{path}: {sample.name}: some images have a class and some none")
    if not members:
        raise InputError(f"{pattern} holds no images")
    return _Index(members, True in kinds, labels)


def _samples(path: Path) -> Iterator[_Sample]:
    """The samples of a shard, whose members come one after the other."""
    sample = None
    for info in _headers(path):
        name, suffix = _split(info.name)
        if info.isdir() or PurePosixPath(info.name).name.startswith(".") or suffix in _PASSED_OVER:
            continue
        if not info.isreg() or info.issparse():
            raise InputError(f"{path}: {info.name} is a link or no ordinary file")
        if suffix not in (*_IMAGES, _ARRAY, _LABEL):
            raise InputError(f"{path}: {info.name} is refused: shards may hold {_ACCEPTED}")
        if sample is None or sample.name != name:
            if sample is not None:
                yield sample
            sample = _Sample(name)
        if suffix == _LABEL:
            sample.label = _class(_Member(path, info.offset_data, info.size))
        elif sample.image is None:
            sample.image = info
        else:
            raise InputError(f"{path}: {info.name} is beside {sample.image.name}: one image each")
    if sample is not None:
        yield sample


def _split(name: str) -> tuple[str, str]:
    """Name and suffix of a member, the suffix from its first dot on."""
    folder, _, last = name.rpartition("/")
    stem, dot, suffix = last.partition(".")
    return f"{folder}/{stem}" if folder else stem, (dot + suffix).lower()


def _class(member: _Member) -> int:
    with member.open("rb") as stream:
        text = stream.read(32)
    try:
        return np.int64(int(text.decode("ascii"))).item()
    except (ValueError, OverflowError):
        raise InputError(f"{member} is no whole number, got {text[:20]!r}") from None


def _headers(path: Path) -> Iterator[tarfile.TarInfo]:
    """The headers of a shard's members, one after the other."""
    try:
        end = path.stat().st_size
        shard: Any
        with tarfile.open(path, "r:") as shard:
            while (info := shard.next()) is not None:
                shard.members = []  # else it keeps all of them
                if info.size < 0 or info.offset_data + info.size > end:
                    raise InputError(f"{path} is cut short, in {info.name}")
                yield info
            shard.fileobj.seek(shard.offset)
            # tarfile takes a damaged header for the end, which zeros mark.
            if shard.fileobj.read(_BLOCK) != bytes(_BLOCK):
                raise InputError(f"{path} is cut short or damaged at byte {shard.offset}")
    except FileNotFoundError:
        raise InputError(f"there is no shard {path}") from None
    except tarfile.TarError as error:
        raise InputError(f"{path} {_fault(path, error)}") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None


def _fault(path: Path, error: tarfile.TarError) -> str:
    with path.open("rb") as stream:
        start = stream.read(6)
    for magic, cure in _COMPRESSED.items():
        if start.startswith(magic):
            return f"is a compressed .tar file, which cannot be read in any order: {cure} it first"
    return "is empty, not a whole .tar file" if not start else f"is not a whole .tar file ({error})"
