"""Which data a run is of."""

from __future__ import annotations

from dataclasses import dataclass

from pyro_vae.config.fields import MOST, option

__all__ = ["DataConfig"]


@dataclass(frozen=True)
class DataConfig:
    """Which data a run is of, and what of them."""

    data: str = option(
        "mnist-5k",
        "Data set, see `pyro-vae data`; a .npy or .npz file of images or vectors; a folder of "
        "images, FOLDER/CLASS/*.png or FOLDER/*.png, perhaps in FOLDER/train, val and test; or "
        ".tar shards of images, 'shards-{000..009}.tar'; or a .csv table.",
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
        "Of a .csv table: what a column is (real, positive, count, binary, category), the "
        "observation that it has, or skip.",
        metavar="NAME=OBS",
    )
    images: int | None = option(
        None, "Use the first so many, training and held-out ones each.", most=MOST
    )
    condition: str | None = option(
        None,
        "Model p(x|c): labels, for the data set's classes as what both networks are told; of a "
        "table NAME,NAME for columns.",
        metavar="WHAT",
    )
