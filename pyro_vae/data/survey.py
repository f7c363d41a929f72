"""Surveys: what the headers of many image files say together, and the images that they give."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from PIL import Image

from pyro_vae.data.pictures import File, Fit, Pictures, Seen, each, look
from pyro_vae.data.stored import Images, Stored, limit
from pyro_vae.errors import InputError

__all__: list[str] = []

_LOG = logging.getLogger("pyro_vae")

K = TypeVar("K")


def images_of(parts: Sequence[Sequence[File]], fit: Fit) -> list[Images]:
    """The images of several lists of files, all of one shape.

    Args:
        parts: The lists.
        fit: How the images come to their size.

    Returns:
        Each list's images, uint8 (N, C, H, W), in memory if all of them fit there.

    Raises:
        InputError: If a file is no image, the sizes differ or are over Pillow's limit.
    """
    survey = _Survey(fit)
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        for part in parts:
            for i, seen in enumerate(each(look, part)):
                survey.add(part[i], seen)
    width, height = survey.common_size()
    shape = (3 if survey.colour else 1, height, width)
    most = Image.MAX_IMAGE_PIXELS
    if most is not None and width * height > most:
        raise InputError(
            f"images would be {_times((width, height))} pixels, which is over Pillow's limit of "
            f"{most:,}: give a smaller --resize"
        )
    stored = [Stored(Pictures(part, shape, fit, survey.shift)) for part in parts]
    fits = sum(part.nbytes for part in stored) <= limit()
    images: list[Images] = [part[:] if fits else part for part in stored]
    for note in survey.notes():
        _LOG.warning(note)
    return images


@dataclass
class _Count:
    """How many files are so, the first of them, and its place among all."""

    first: File
    place: int
    files: int = 0


@dataclass
class _Survey:
    """What has been seen; it does not grow with the number of files."""

    fit: Fit
    files: int = 0
    colour: bool = False
    sizes: dict[tuple[int, int], _Count] = field(default_factory=dict)
    lost: dict[str, _Count] = field(default_factory=dict)
    top: int = 0
    kept: int = 0
    frames: int = 0

    def add(self, file: File, seen: Seen) -> None:
        """Take note of a file."""
        self._count(self.sizes, self.fit.size(file, seen), file)
        lost = {
            "alpha": seen.alpha,
            "top": seen.top is not None,
            "kept": seen.kept is not None,
            "frames": seen.frames > 1,
        }
        for name in (name for name, is_so in lost.items() if is_so):
            self._count(self.lost, name, file)
        self.top = max(self.top, seen.top or 0)
        self.kept = max(self.kept, seen.kept or 0)
        self.frames += seen.frames
        self.colour |= seen.colour
        self.files += 1

    def _count(self, counts: dict[K, _Count], key: K, file: File) -> None:
        counts.setdefault(key, _Count(file, self.files)).files += 1

    def common_size(self) -> tuple[int, int]:
        """Width and height of all images.

        Raises:
            InputError: If they differ; it names the odd one out.
        """
        usual = max(self.sizes, key=lambda size: self.sizes[size].files)
        if len(self.sizes) > 1:
            odd = min((s for s in self.sizes if s != usual), key=lambda s: self.sizes[s].place)
            even = getattr(self.sizes[usual].first, "name", self.sizes[usual].first)
            resize = self.fit.resize
            after = "" if resize is None else f" after --resize {resize}"
            raise InputError(
                f"images differ in size: {self.sizes[odd].first} is {_times(odd)} pixels, "
                f"{even} {_times(usual)}{after}: {_cure(self.fit, usual)}"
            )
        return usual

    def notes(self) -> Iterator[str]:
        """What is lost of the files, in a line each."""
        white = 2 ** (self.shift + 8) - 1
        words = {
            "alpha": "an alpha channel, which is dropped: hidden colours show",
            "top": f"16 bits, in which nothing exceeds {self.top}: {white} becomes 255, "
            f"which leaves {(self.top >> self.shift) + 1} levels",
            "kept": "16 bits per channel, of which the upper 8 are kept: 65535 becomes 255"
            + f", which leaves {self.kept + 1} levels"
            + ("" if self.kept > 127 else "; pass them as .npy"),
            "frames": f"several pages or frames, of which the first alone is read: {self.files} of "
            f"{self.frames} in all",
        }
        for name, what in words.items():
            if name in self.lost:
                count = self.lost[name]
                yield f"{count.files} of {self.files} images, {count.first} first, have {what}"

    @property
    def shift(self) -> int:
        """Lower bits of 16 that are dropped: 12 bits in 16 keep 8 of the 12.

        Depths are even, as those of cameras and scanners are, so that one more image that is
        somewhat lighter leaves the others as they are.
        """
        bits = self.top.bit_length()
        return max(0, bits + bits % 2 - 8)


def _times(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _cure(fit: Fit, size: tuple[int, int]) -> str:
    side = min(size)
    return f"add --crop {side}" if fit.resize else f"add --resize {side} --crop {side}"
