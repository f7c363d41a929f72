"""Which data a run is of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pyro_vae.config.fields import MOST, number_or_text, option

__all__ = ["DataConfig"]


def _validation(value: object) -> str:
    """A share, ``last:N``, a path or ``none`` as text."""
    return number_or_text("validation")(str(value) if isinstance(value, Path) else value)


@dataclass(frozen=True)
class DataConfig:
    """Which data a run is of, and what of them."""

    data: str = option(
        "mnist-5k",
        "Data set, see `pyro-vae data`; a .npy, .npz, .h5 or .zarr file of images or vectors; a "
        "folder or .zip file of images, FOLDER/CLASS/*.png or FOLDER/*.png, perhaps in "
        "FOLDER/train, val and test; .tar shards of images, 'shards-{000..009}.tar'; or a .csv, "
        ".tsv, .parquet or .feather table.",
        metavar="NAME|FILE|FOLDER",
    )
    data_root: str | None = option(None, "Folder to look for it in.", path=True)
    download: bool = option(False, "Let torchvision fetch it if it is not at hand.")
    resize: int | None = option(
        None, "Of image files: scale the shorter side to N pixels.", metavar="N", most=MOST
    )
    crop: int | None = option(
        None,
        "Of image files: cut N x N pixels from the centre, after --resize.",
        metavar="N",
        most=MOST,
    )
    column: tuple[str, ...] = option(
        (),
        "Of a table: what a column is (real, positive, count, binary, category), the "
        "observation that it has, or skip.",
        metavar="NAME=OBS",
    )
    images: int | None = option(
        None, "Use the first so many, training and held-out ones each.", most=MOST
    )
    validation: str | None = option(
        None,
        "What choices in training look at, beside the test part, which is only reported: a share "
        "of the training images, always the same; last:N of them; a folder or file of others; or "
        "none [a part that the data have; else 0.1 where --patience, --keep-best or --lr-schedule "
        "plateau chooses].",
        metavar="SHARE|last:N|PATH|none",
        read=_validation,
    )
    condition: str | None = option(
        None,
        "Model p(x|c): labels, for the data set's classes as what both networks are told; of a "
        "table NAME,NAME for columns.",
        metavar="WHAT",
    )
