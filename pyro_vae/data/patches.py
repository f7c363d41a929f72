"""Colour patches: 3×32×32 cuttings of the photographs that scikit-image and scikit-learn ship.

A stand-in for CIFAR-10 where that cannot be had. Seven photographs, each at its size, at half and
at a third of it, are cut at random; training patches come from the left four fifths of a picture
and held-out ones from the rest, and patches of next to one colour are left out. The photographs are
those of ``PHOTOGRAPHS``, which says whose they are and what may be done with them:

- astronaut: NASA, public domain
- chelsea: Stefan van der Walt, CC0
- coffee: Rachel Michetti, CC0
- hubble_deep_field: NASA, public domain
- rocket: SpaceX, public domain
- china: danielbuechele, CC BY 2.0
- flower: vultilion, CC BY 2.0
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pyro_vae.errors import InputError

__all__: list[str] = []

NAME = "colour-patches"
FILE = f"{NAME}.npz"

_SIDE, _SCALES, _SHARE = 32, (1, 2, 3), 0.8
_FLAT = 6.0
"""Patches whose levels have a smaller standard deviation are left out."""
_COUNTS = {"train": 5000, "test": 500}
_SHA256 = {
    "train": "51bf214cbc473248c7872fadc4bc8b363bfcb9c5408ff7f3c0a1bdaa1230677a",
    "test": "dd2aa014661c7f30d91e3b08d71fdc1d886c0b428762288e62e8ca245435bc1c",
}
_INSTALL = f"pip install 'pyro_vae[{NAME}]'"


@dataclass(frozen=True)
class Photograph:
    """A photograph that a package ships.

    Attributes:
        name: What it is called there.
        package: The package, as it is installed.
        path: Of the file in the package's folder.
        source: Who took it, where it is from, and its licence.
    """

    name: str
    package: str
    path: str
    source: str

    @property
    def file(self) -> Path:
        """The file.

        Raises:
            InputError: If the package is not installed, or does not hold it.
        """
        # Packages are not imported: theirs would fetch a photograph that they miss.
        module = {"scikit-image": "skimage", "scikit-learn": "sklearn"}[self.package]
        spec = find_spec(module)
        if spec is None or not spec.submodule_search_locations:
            raise InputError(f"{NAME} needs {self.package}, which is not installed: {_INSTALL}")
        file = Path(next(iter(spec.submodule_search_locations)), self.path)
        if not file.is_file():
            raise InputError(
                f"{NAME} needs {self.path} of {self.package}, which this version does not ship: "
                f"{_INSTALL} --upgrade"
            )
        return file


PHOTOGRAPHS = (
    Photograph(
        "astronaut",
        "scikit-image",
        "data/astronaut.png",
        "Eileen Collins, NASA (flic.kr/p/r9qvLn), public domain",
    ),
    Photograph("chelsea", "scikit-image", "data/chelsea.png", "Stefan van der Walt, CC0"),
    Photograph(
        "coffee", "scikit-image", "data/coffee.png", "Rachel Michetti, Pikolo Espresso Bar, CC0"
    ),
    Photograph(
        "hubble_deep_field",
        "scikit-image",
        "data/hubble_deep_field.jpg",
        "NASA (hubblesite.org, release 2012-37), public domain",
    ),
    Photograph(
        "rocket",
        "scikit-image",
        "data/rocket.jpg",
        "SpaceX (flickr.com/photos/spacexphotos/16511594820), public domain",
    ),
    Photograph(
        "china",
        "scikit-learn",
        "datasets/images/china.jpg",
        "danielbuechele (flickr.com/photos/danielbuechele/6061409035), CC BY 2.0",
    ),
    Photograph(
        "flower",
        "scikit-learn",
        "datasets/images/flower.jpg",
        "vultilion (flickr.com/photos/vultilion/6056698931), CC BY 2.0",
    ),
)


def cut() -> dict[str, NDArray[np.generic]]:
    """The patches, uint8 (N, 3, 32, 32): 5,000 as ``train`` and 500 as ``test``.

    Raises:
        InputError: If a photograph is missing, or Pillow reads it in another way.
    """
    pictures = []
    for photograph in PHOTOGRAPHS:
        with Image.open(photograph.file) as image:
            whole = image.convert("RGB")
        pictures.append([np.asarray(whole.reduce(scale)) for scale in _SCALES])
    rng = np.random.default_rng(0)
    arrays = {}
    for part, count in _COUNTS.items():
        patches: list[np.ndarray[Any, Any]] = []
        while len(patches) < count:
            levels = pictures[rng.integers(len(pictures))][rng.integers(len(_SCALES))]
            border = int(_SHARE * levels.shape[1])
            side = levels[:, :border] if part == "train" else levels[:, border:]
            if side.shape[1] < _SIDE:
                continue
            left = rng.integers(side.shape[1] - _SIDE + 1)
            top = rng.integers(side.shape[0] - _SIDE + 1)
            patch = side[top : top + _SIDE, left : left + _SIDE]
            if patch.std() >= _FLAT:
                patches.append(patch.transpose(2, 0, 1))
        arrays[part] = np.stack(patches)
    check(arrays, "the photographs that are installed")
    return arrays


def check(arrays: Mapping[str, NDArray[np.generic]], what: str) -> None:
    """Make sure that patches are those that this module has always made.

    Args:
        arrays: ``train`` and ``test``, uint8 (N, 3, 32, 32).
        what: Where they are from, for the words.

    Raises:
        InputError: If they are not.
    """
    for part, wanted in _SHA256.items():
        found = hashlib.sha256(np.ascontiguousarray(arrays[part]).tobytes()).hexdigest()
        if found != wanted:
            raise InputError(
                f"{what} give other {NAME}: SHA-256 of {part} is {found[:16]}…, not {wanted[:16]}…"
            )


def make(folder: Path, overwrite: bool = False) -> Path:
    """Write the patches into a folder, whole or not at all.

    Args:
        folder: The folder; made if it is not there.
        overwrite: Whether a file of their name and other content may be replaced.

    Returns:
        The file, which may have been there.

    Raises:
        InputError: If the patches cannot be made, or another file has their name; nothing is
            written then, or the folder is none or may not be written to.
        OSError: If the disk fails or is full.
    """
    path = folder / FILE
    if path.is_dir():
        raise InputError(f"{path} is a folder: move it away")
    if path.exists() and not overwrite:
        if _holds(path):
            return path
        raise InputError(f"{path} is there and is not {NAME}: move it away, or give --overwrite")
    arrays = cut()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(path, arrays)
    except (FileExistsError, FileNotFoundError, NotADirectoryError, PermissionError) as error:
        raise InputError(f"{NAME} cannot be written to {folder}: {error.strerror}") from None
    return path


def _write(path: Path, arrays: Mapping[str, NDArray[np.generic]]) -> None:
    temporary = path.with_name(f".{FILE}.{os.getpid()}")
    try:
        with temporary.open("wb") as stream:
            np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def _holds(path: Path) -> bool:
    """Whether a file holds the patches."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            check({part: archive[part] for part in _COUNTS}, str(path))
    except Exception:  # of a file of any kind nearly anything is raised
        return False
    return True
