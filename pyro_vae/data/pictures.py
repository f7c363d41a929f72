"""Image files: what one holds, and its 8-bit levels at the size that was asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import IO, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from pyro_vae.errors import InputError, positive, shown

__all__: list[str] = []

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""Names of image files, as in torchvision's ``ImageFolder``."""

_GREY = ("1", "L", "LA", "La")
_WITH_ALPHA = ("LA", "La", "RGBA", "RGBa", "PA")
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_LYING = (5, 6, 7, 8)
_READERS = min(8, os.cpu_count() or 1)
_AT_A_TIME = 1024
_LONGEST_SIDE = 2**31 - 1  # what Pillow counts pixels in

S = TypeVar("S")
T = TypeVar("T")


class File(Protocol):
    """A ``pathlib.Path``, or part of a larger file; its text is what messages call it."""

    def open(self, mode: Literal["rb"]) -> AbstractContextManager[IO[bytes]]:
        """Its content."""


@dataclass(frozen=True)
class Seen:
    """What an image file's header says.

    Attributes:
        width: In pixels.
        height: In pixels.
        colour: Whether it is not grey.
        alpha: Whether it has an alpha channel.
        deep: Whether it has 16 bits per channel.
        top: The largest of its levels where it has 16 bits and Pillow keeps them, else None. The
            image is decoded for it.
        kept: The largest of its upper bytes where Pillow keeps nothing else of 16 bits, else None.
        frames: How many pages or frames it has.
    """

    width: int
    height: int
    colour: bool
    alpha: bool
    deep: bool
    top: int | None = None
    kept: int | None = None
    frames: int = 1


@dataclass(frozen=True)
class Fit:
    """How images come to a size, as torchvision's ``Resize`` and ``CenterCrop`` do it.

    Attributes:
        resize: Length of the shorter side, or None to keep the size.
        crop: Side of the square that is cut from the centre, or None.
    """

    resize: int | None = None
    crop: int | None = None

    def __post_init__(self) -> None:
        for name in ("resize", "crop"):
            value = getattr(self, name)
            if value is None:
                continue
            positive(**{name: value})
            if value > _LONGEST_SIDE:
                raise InputError(f"{name} must be at most {_LONGEST_SIDE:,}, got {shown(value)}")

    def scaled(self, width: int, height: int) -> tuple[int, int]:
        """Width and height after the resizing."""
        if self.resize is None:
            return width, height
        shorter = min(width, height)
        return int(self.resize * width / shorter), int(self.resize * height / shorter)

    def size(self, path: File, seen: Seen) -> tuple[int, int]:
        """Width and height of a file's image in the end.

        Raises:
            InputError: If it is smaller than the crop.
        """
        width, height = self.scaled(seen.width, seen.height)
        if self.crop is None:
            return width, height
        if min(width, height) < self.crop:
            raise InputError(
                f"{path} is {width}x{height} pixels, smaller than --crop {self.crop}: "
                f"add --resize {self.crop}, or crop less"
            )
        return self.crop, self.crop

    def apply(self, image: Image.Image) -> Image.Image:
        """The image at its size."""
        size = self.scaled(*image.size)
        if size != image.size:
            image = image.resize(size, Image.Resampling.BILINEAR)
        if self.crop is not None:
            left, top = (round((side - self.crop) / 2) for side in image.size)
            image = image.crop((left, top, left + self.crop, top + self.crop))
        return image


class Pictures:
    """Image files, read like an array (N, C, H, W) of levels whenever rows of it are asked for.

    Args:
        files: The files, which must fit the shape.
        shape: (C, H, W), one or three channels.
        fit: How they come to that size.
        shift: Lower bits of grey levels of 16 that are dropped.
    """

    dtype = np.dtype(np.uint8)

    def __init__(
        self, files: Sequence[File], shape: tuple[int, int, int], fit: Fit, shift: int = 8
    ) -> None:
        self.files, self.fit, self.shift = files, fit, shift
        self.shape = (len(files), *shape)

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[np.generic]:
        files = [self.files[row] for row in rows]
        out = np.empty((len(files), *self.shape[1:]), np.uint8)
        for place, levels in zip(out, each(self._levels, files), strict=True):
            place[...] = levels
        return out

    def _levels(self, path: File) -> NDArray[np.generic]:
        channels, height, width = self.shape[1:]
        with _opened(path) as image:
            upright = _upright(image)
            fitted = self.fit.apply(_eight_bits(upright, channels, self.shift))
        if fitted.size != (width, height):
            raise InputError(f"{path} has changed: it was {width}x{height} pixels")
        return np.asarray(fitted).reshape(height, width, channels).transpose(2, 0, 1)


def each(function: Callable[[S], T], files: Sequence[S]) -> Iterator[T]:
    """What a function gives for each file, in their order; a few files at a time."""
    with ThreadPoolExecutor(_READERS) as readers:
        for start in range(0, len(files), _AT_A_TIME):
            some = [files[i] for i in range(start, min(start + _AT_A_TIME, len(files)))]
            yield from readers.map(function, some)


def look(path: File) -> Seen:
    """What a file's header says; only images of 16 bits are decoded, for their range.

    Raises:
        InputError: If it is no image, has more pixels than Pillow's limit, or has levels that
            have no place among 8-bit ones.
    """
    with _opened(path) as image:
        mode, pixels = image.mode, image.width * image.height
        if Image.MAX_IMAGE_PIXELS is not None and pixels > Image.MAX_IMAGE_PIXELS:
            raise Image.DecompressionBombError(f"{pixels} pixels")
        deep = _is_deep(image)
        if mode in ("I", "F") and not deep:
            raise InputError(
                f"{path} has 32-bit levels: convert it to 8 bits, or pass numbers as .npy"
            )
        alpha = mode in _WITH_ALPHA or "transparency" in image.info
        colour = not (deep and mode.startswith("I")) and mode not in _GREY
        if mode in ("P", "PA"):
            colour = not _is_grey_palette(image)
        width, height = _upright_size(image)
        frames = int(getattr(image, "n_frames", 1))
        largest = int(np.asarray(image).max()) if deep else None
        whole = mode.startswith("I")
        top, kept = (largest, None) if whole else (None, largest)
        return Seen(width, height, colour, alpha, deep, top, kept, frames)


@contextmanager
def _opened(path: File) -> Iterator[Image.Image]:
    try:
        with path.open("rb") as stream, Image.open(stream) as image:
            yield image
    except InputError:
        raise
    except UnidentifiedImageError:
        raise InputError(f"{path} is not an image that Pillow can read") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise InputError(
            f"{path} has more pixels than Pillow's limit of {Image.MAX_IMAGE_PIXELS} "
            "(PIL.Image.MAX_IMAGE_PIXELS), as a decompression bomb would"
        ) from None
    except Exception as error:  # decoders of damaged files raise nearly anything
        reason = getattr(error, "strerror", None)
        if reason is None:
            reason = f"not whole, or no image of 8 bits ({' '.join(str(error).split())})"
        raise InputError(f"{path} cannot be read: {reason}") from None


def _is_deep(image: Image.Image) -> bool:
    """Whether it has 16 bits per channel, which Pillow itself cuts to 8 where there are three."""
    png = image.format == "PNG"
    raw = " ".join(str(tile[3]) for tile in getattr(image, "tile", ()))
    return image.mode.startswith("I;16") or (png and (image.mode == "I" or ";16" in raw))


def _orientation(image: Image.Image) -> int:
    """How a camera was held, 1 to 8 as EXIF counts, of what Pillow does not turn by itself."""
    if image.format == "TIFF":
        return 1
    try:
        # Not that of PNG, which decodes the image in search of it.
        return int(Image.Image.getexif(image).get(_ORIENTATION, 1))
    except Exception:  # damaged, which does not concern the pixels
        return 1


def _upright_size(image: Image.Image) -> tuple[int, int]:
    if image.format == "TIFF":
        if Image.Image.getexif(image).get(_ORIENTATION, 1) != 1:
            image.load()  # turns it
        return image.size
    width, height = image.size
    return (height, width) if _orientation(image) in _LYING else (width, height)


def _upright(image: Image.Image) -> Image.Image:
    """The image as it is to be seen, whichever way the camera was held."""
    turn = _TURNS.get(_orientation(image))
    return image if turn is None else image.transpose(turn)


def _is_grey_palette(image: Image.Image) -> bool:
    palette = np.array(image.getpalette("RGB") or [0, 0, 0]).reshape(-1, 3)
    return bool((palette == palette[:, :1]).all())


def _eight_bits(image: Image.Image, channels: int, shift: int) -> Image.Image:
    if image.mode.startswith("I"):
        levels = np.asarray(image).astype(np.int64) >> shift
        image = Image.fromarray(levels.clip(0, 255).astype(np.uint8))
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("L" if channels == 1 else "RGB")
