"""Images in .zip files, by the conventions of folders; nothing is unpacked to disk."""

from __future__ import annotations

import logging
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Literal

from pyro_vae.data.arrays import Data
from pyro_vae.data.folder import Found, classes_of, of_found
from pyro_vae.data.found import of_ending, words_of
from pyro_vae.data.pictures import SUFFIXES, Fit
from pyro_vae.data.roles import part_names
from pyro_vae.errors import InputError, reason

__all__: list[str] = []

_LOG = logging.getLogger("pyro_vae")

SUFFIX = ".zip"
_RATIO = 1000  # of a member's size to what is stored of it, which no image reaches
_ENCRYPTED = 0x1


@dataclass(frozen=True)
class _Member:
    """An image in a .zip file, read like a file."""

    path: Path
    name: str

    @contextmanager
    def open(self, mode: Literal["rb"]) -> Iterator[IO[bytes]]:
        """Its bytes."""
        # Opened anew: threads and processes read at once.
        with zipfile.ZipFile(self.path) as archive, archive.open(self.name) as stream:
            yield stream

    def __str__(self) -> str:
        return f"{self.path}: {self.name}"


def read(path: str | Path, resize: int | None = None, crop: int | None = None) -> Data:
    """Images of a .zip file: ``CLASS/*.png`` with labels, or ``*.png`` without, as of a folder.

    One folder that all lies in does not count; folders ``train`` and ``test`` (or ``val``) are
    parts. Names that begin with a dot, ``__MACOSX`` and files of other endings are passed over,
    and a line logged by ``pyro_vae`` says so.

    Args:
        path: The file.
        resize: Scale the shorter side to so many pixels, or None.
        crop: Then cut a square of so many pixels from the centre, or None.

    Raises:
        InputError: If it is no .zip file, is encrypted, holds fewer than two images, a file that is
            no image, or images that differ in size.
    """
    file, fit = Path(path), Fit(resize, crop)
    names, passed = _members(file)
    below = {name: PurePosixPath(name).parts for name in names}
    top = _shared(list(below.values()))
    below = {name: parts[len(top) :] for name, parts in below.items()}
    parts = _parts(file, below, passed)
    found = {}
    for part, inside in (parts or {"all": ""}).items():
        mine = {name: b for name, b in below.items() if not parts or b[0] == inside}
        inner = [b[1:] if parts else b for b in mine.values()]
        where = Path(f"{file}:{inside}") if parts else file
        if len(mine) < 2:
            said = f"only one image, {next(iter(mine))}" if mine else "no images"
            over = f"; passed over: {words_of(passed)}" if passed else ""
            raise InputError(f"{where} holds {said} ({', '.join(SUFFIXES)}){over}")
        members = [_Member(file, name) for name in mine]
        found[part] = Found(members, ["/".join(b) for b in inner], classes_of(where, inner))
    data = of_found(file, {part: file / name for part, name in parts.items()}, found, fit)
    words = words_of(passed)
    if words:
        _LOG.warning(f"{file}: passed over: {words}")
    return data._replace(passed_over=words)


def _members(file: Path) -> tuple[list[str], Counter[str]]:
    """The names of the images, in order, and how many of what is passed over."""
    passed: Counter[str] = Counter()
    names = []
    try:
        with zipfile.ZipFile(file) as archive:
            infos = archive.infolist()
    except FileNotFoundError:
        raise InputError(f"there is no {file}") from None
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise InputError(f"{file} is not a readable .zip file: {reason(error)}") from None
    for info in sorted(infos, key=lambda info: info.filename):
        parts = PurePosixPath(info.filename).parts
        if info.is_dir() or any(part[0] == "." or part == "__MACOSX" for part in parts):
            continue
        suffix = PurePosixPath(info.filename).suffix.lower()
        if suffix not in SUFFIXES:
            passed[of_ending(suffix)] += 1
        elif info.flag_bits & _ENCRYPTED:
            raise InputError(f"{file} is encrypted ({info.filename}): unpack it first")
        elif info.file_size > _RATIO * max(1, info.compress_size) + 2**20:
            raise InputError(f"{file}: {info.filename} unpacks to {info.file_size:,} bytes")
        else:
            names.append(info.filename)
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise InputError(f"{file} holds {twice} more than once")
    return names, passed


def _shared(below: list[tuple[str, ...]]) -> tuple[str, ...]:
    """The folders that all files lie in, of which none is a part's."""
    top: tuple[str, ...] = ()
    while below and all(len(parts) > len(top) + 1 for parts in below):
        names = {parts[len(top)] for parts in below}
        if len(names) > 1 or part_names(names, ""):
            break
        top = (*top, *names)
    return top


def _parts(file: Path, below: dict[str, tuple[str, ...]], passed: Counter[str]) -> dict[str, str]:
    """The folders of the parts; none where all images are one."""
    folders = sorted({parts[0] for parts in below.values() if len(parts) > 1})
    parts = part_names(folders, file)
    if "train" not in parts or (len(parts) == 1 and len(folders) > 1):
        return {}
    for names in below.values():
        if names[0] not in parts.values():
            passed["file beside the parts"] += 1
    return parts
