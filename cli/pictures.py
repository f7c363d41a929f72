"""``pyro-vae reconstruct`` and ``pyro-vae sample``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import (
    SEED,
    data_options,
    load_run,
    own_parts,
    png_option,
    replace_option,
    tell_changed,
)
from .tables import reconstruct_rows, sample_rows

if TYPE_CHECKING:
    from torch import Tensor

    from pyro_vae import VAE

__all__ = ["reconstruct", "sample"]

KINDS = ("mean", "mode", "sample", "parameter")
TILES = click.IntRange(1, 10_000)
"""Images that one picture may hold."""


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@data_options
@own_parts
@click.option(
    "--kind",
    multiple=True,
    type=click.Choice((*KINDS, "all")),
    help="What of p(x|z) to show, a row each; may be repeated; all: every kind that the "
    "observation has [mean].",
)
@click.option("--count", default=16, type=TILES, show_default=True, help="Held-out images to show.")
@click.option("--seed", default=0, type=SEED, show_default=True, help="Of --kind sample.")
@png_option(
    "--out",
    metavar="FILE.png|FILE.csv",
    help="Picture to write [RUN/reconstructions.png]; of a table rows [RUN/reconstructions.csv].",
)
@replace_option
def reconstruct(
    run: Path,
    data: str | None,
    data_root: Path | None,
    download: bool,
    kind: tuple[str, ...],
    count: int,
    seed: int,
    out: Path | None,
    overwrite: bool,
    **own: str | None,
) -> None:
    """Draw inputs of a RUN above their reconstructions, all on one grey scale from 0 to 1."""
    import torch

    import pyro_vae as pv
    from pyro_vae.data import as_images
    from pyro_vae.plots.runs import draw_reconstructions
    from pyro_vae.training.run_data import load_data

    vae = load_run(run, own)
    place = _place(run, out, "reconstructions.png", overwrite) if not vae.joint else None
    images, described = load_data(data, data_root, download, pv.training.read_config(run))
    test = as_images(images.test[:count], vae.data_shape)
    if place is None:
        torch.manual_seed(seed)
        tell_changed(described)
        kinds = kind or ("mean",)
        if len(kinds) > 1 or "all" in kinds:
            raise pv.InputError("--kind of a table is one: mean or sample")
        click.echo(reconstruct_rows(run, vae, test, kinds[0], out, overwrite))
        return
    if "all" in kind:
        kind = tuple(_kinds(vae, test))
    torch.manual_seed(seed)
    names = [images.name("test", i) for i in range(len(test))] if images.names else []
    draw_reconstructions(vae, test, place, kind or ("mean",), count, names)
    _list(run, out, place)
    tell_changed(described)
    click.echo(place)


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@own_parts
@click.option(
    "--kind",
    type=click.Choice(KINDS),
    help="What of p(x|z) to show [mean; of a table sample].",
)
@click.option(
    "--count", default=32, type=TILES, show_default=True, help="Latents to draw from the prior."
)
@click.option(
    "--condition",
    metavar="CLASSES",
    help="Of a RUN that was told classes: those to draw, as 3 or 0,1,2, a row each [all].",
)
@click.option("--seed", default=0, type=SEED, show_default=True, help="Of the latents.")
@png_option(
    "--out",
    metavar="FILE.png|FILE.csv",
    help="Picture to write [RUN/samples.png]; of a table rows [RUN/samples.csv].",
)
@replace_option
def sample(
    run: Path,
    kind: str | None,
    count: int,
    condition: str | None,
    seed: int,
    out: Path | None,
    overwrite: bool,
    **own: str | None,
) -> None:
    """Draw images from a RUN: p(x|z) at z drawn from the prior, p(x|z, c) of classes."""
    import torch

    import pyro_vae as pv
    from pyro_vae.plots.runs import draw_samples

    vae = load_run(run, own)
    if vae.joint:
        if condition is not None:
            raise pv.InputError("--condition is for a run of images that was told classes")
        torch.manual_seed(seed)
        click.echo(sample_rows(run, vae, kind or "sample", count, out, overwrite))
        return
    kind = kind or "mean"
    classes = _classes(run, vae, condition, count)
    place = _place(run, out, "samples.png", overwrite)
    torch.manual_seed(seed)
    draw_samples(vae, place, count, kind, classes)
    _list(run, out, place)
    click.echo(place)


def _classes(run: Path, vae: VAE, condition: str | None, count: int) -> dict[str, Tensor] | None:
    """The covariates of classes that samples are to be of; by default all that it was told."""
    import pyro_vae as pv
    from pyro_vae.errors import InputError
    from pyro_vae.texts import Word

    config = pv.training.read_config(run)
    known = (config.get("data") or {}).get("condition")
    if known is None and vae.covariates:
        raise InputError(f"{run} has covariates of a script's, which no option can name")
    if known is None:
        if condition is not None:
            raise InputError(f"--condition is for a run that was told classes; {run} was not")
        return None
    parts = [str(part) for part in range(known["classes"])]
    if condition is not None:
        parts = list(Word(condition).parts())
    if not all(part.strip().isascii() and part.strip().isdigit() for part in parts):
        raise InputError(f"--condition must be classes, as 3 or 0,1,2; got {condition!r}")
    each = max(1, round(count / len(parts)))
    return {
        f"class {int(part)}": pv.data.of_classes([int(part)] * each, known["classes"])
        for part in parts
    }


def _place(run: Path, out: Path | None, name: str, overwrite: bool) -> Path:
    """Where the picture goes, which another's file does not lie at."""
    from pyro_vae import ours
    from pyro_vae.errors import InputError

    if out is None:
        ours.check(run, ours.RUN, [name])
        return run / name
    if out.suffix.lower() != ".png":
        raise InputError(f"--out of images must end in .png, got {str(out)!r}")
    ours.check_picture(out, overwrite)
    return out


def _list(run: Path, out: Path | None, place: Path) -> None:
    """List the picture as the run's if it is; one that the user named is the user's."""
    from pyro_vae import ours

    if out is None:
        ours.record(run, ours.RUN, [place.name])


def _kinds(vae: VAE, images: Tensor) -> Iterator[str]:
    """The kinds that the observation has on these images; says why the others are left out."""
    from pyro_vae.errors import InputError

    for kind in KINDS:
        try:
            vae.reconstruct(images, kind)
        except InputError as error:
            click.echo(f"{kind} left out: {error}", err=True)
        else:
            yield kind
