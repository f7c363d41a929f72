"""``pyro-vae impute``, and rows of tables as files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import (
    SEED,
    data_options,
    load_run,
    own_parts,
    replace_option,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from pyro_vae import VAE
    from pyro_vae.data import Batch

__all__ = ["impute", "reconstruct_rows", "sample_rows"]


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@data_options
@own_parts
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.csv",
    help="File to write [RUN/imputed.csv].",
)
@click.option(
    "--draws",
    default=100,
    type=click.IntRange(1, 100_000),
    show_default=True,
    help="Latents of each row that the values are averaged over.",
)
@click.option("--seed", default=0, type=SEED, show_default=True, help="Of the latents.")
@replace_option
def impute(
    run: Path,
    data: str | None,
    data_root: Path | None,
    download: bool,
    out: Path | None,
    draws: int,
    seed: int,
    overwrite: bool,
    **parts: str | None,
) -> None:
    """Fill the gaps of a table by a RUN: all rows, and nothing else of the file is changed.

    A number becomes its mean given what is known of its row, a count the whole number next to that,
    a category the likeliest one.
    """
    from pyro_vae.data.table import read_table
    from pyro_vae.data.tables import batch_of, write_filled
    from pyro_vae.inference import impute_parts
    from pyro_vae.training.run_data import check_kind

    vae = load_run(run, parts)
    described = _columns_of(run)
    path = Path(data or described["name"])
    check_kind(str(path), described)
    place = _place(run, out, "imputed.csv", overwrite)
    table = read_table(path, described["columns"])
    batch = batch_of(table, described.get("told", ()))
    values = impute_parts(vae, batch, draws, seed)
    told = [said["name"] for said in described.get("told", ())]
    gaps = sum(int(column.values.isnan().sum()) for column in table.columns)
    left = sum(int(table[name].values.isnan().sum()) for name in told)
    write_filled(table, values, place)
    _list(run, out, place)
    click.echo(f"{gaps - left} gaps filled" + (f", {left} left" if left else ""), err=True)
    click.echo(place)


def sample_rows(
    run: Path, vae: VAE, kind: str, count: int, out: Path | None, overwrite: bool
) -> Path:
    """Draw rows of a RUN's table; those of a model that is told columns have the training rows'.

    Returns:
        The file.
    """
    from pyro_vae.data import cycled
    from pyro_vae.training.run_data import load_data

    given = {}
    if vae.covariates:
        data, _ = load_data(None, None, False, _config(run))
        given["covariates"] = cycled(data.train, count)
    z = vae.sample_latent(count, **given)
    return _write(run, out, "samples.csv", overwrite, _rows(vae, vae.decode(z, **given), kind))


def reconstruct_rows(
    run: Path, vae: VAE, batch: Batch, kind: str, out: Path | None, overwrite: bool
) -> Path:
    """Write a table's rows as the model gives them back.

    Returns:
        The file.
    """
    from pyro_vae.data import context

    likelihood = vae.decode(vae.code(batch), **context(batch))
    return _write(run, out, "reconstructions.csv", overwrite, _rows(vae, likelihood, kind))


def _config(run: Path) -> dict[str, Any]:
    from pyro_vae.training import read_config

    return read_config(run)


def _columns_of(run: Path) -> dict[str, Any]:
    """How a run's table is read again.

    Raises:
        InputError: If the run is not of a table.
    """
    from pyro_vae.errors import InputError

    described: dict[str, Any] = _config(run).get("data") or {}
    if "columns" not in described:
        raise InputError(f"{run} was not trained on a .csv table")
    return described


def _place(run: Path, out: Path | None, name: str, overwrite: bool) -> Path:
    """Where rows go, which another's file does not lie at."""
    from pyro_vae import ours
    from pyro_vae.errors import InputError

    if out is None:
        ours.check(run, ours.RUN, [name])
        return run / name
    if out.suffix.lower() != ".csv":
        raise InputError(f"--out of a table must end in .csv, got {str(out)!r}")
    if not out.parent.is_dir():
        raise InputError(f"there is no folder {str(out.parent)!r}")
    if out.exists() and not overwrite:
        raise InputError(f"{out} is there: give another file, or --overwrite")
    return out


def _write(
    run: Path, out: Path | None, name: str, overwrite: bool, values: Mapping[str, Tensor]
) -> Path:
    """Write rows of a run's table, and list the file as the run's where it lies in it."""
    from pyro_vae.data.tables import write_rows

    described = _columns_of(run)
    place = _place(run, out, name, overwrite)
    write_rows(described["columns"], values, place)
    _list(run, out, place)
    return place


def _list(run: Path, out: Path | None, place: Path) -> None:
    from pyro_vae import ours

    if out is None:
        ours.record(run, ours.RUN, [place.name])


def _rows(vae: VAE, likelihood: Mapping[str, Any], kind: str) -> dict[str, Tensor]:
    """Rows of p(x|z): draws of it, or its means, of classes the likeliest.

    Raises:
        InputError: If there is no such kind for tables.
    """
    from pyro_vae.errors import unknown

    if kind == "sample":
        return {name: p.sample() for name, p in likelihood.items()}
    if kind == "mean":
        return {
            name: p.mode if part.levels.width(part.head.interval) > 1 else p.mean
            for (name, p), part in zip(likelihood.items(), vae.observed.parts.values(), strict=True)
        }
    raise unknown("--kind of a table", kind, ("mean", "sample"))
