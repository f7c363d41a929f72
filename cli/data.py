"""``pyro-vae data``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import as_json, echo_json, echo_wrapped

if TYPE_CHECKING:
    from pyro_vae.data.vision import Source

__all__ = ["data"]


@click.group(invoke_without_command=True)
@click.option("--data-root", type=click.Path(path_type=Path), help="Folder to look in first.")
@as_json
@click.pass_context
def data(context: click.Context, /, data_root: Path | None, as_json: bool) -> None:
    """List the data sets: what each holds, where it came from, whether it is at hand.

    Where one is named, a .npy or .npz file, a folder of images or .tar shards may be given instead.
    """
    if context.invoked_subcommand is not None:
        if data_root is not None or as_json:
            name = context.invoked_subcommand
            raise click.UsageError(f"give --data-root and --json after `data {name}`, not before")
        return
    from pyro_vae.data import stock

    rows = []
    for source in stock.TABLE.values():
        there = stock.find(source, data_root) if source.files else "in this package"
        rows.append(
            {
                "name": source.name,
                "holds": source.what,
                "origin": source.origin,
                "at hand": str(there) if there else None,
            }
        )
    if as_json:
        echo_json(rows)
        return
    for row, source in zip(rows, stock.TABLE.values(), strict=True):
        echo_wrapped(f"{row['name']}: {row['holds']}", "", "  ")
        echo_wrapped(f"from: {row['origin']}", "  ", "    ")
        echo_wrapped(f"at hand: {row['at hand'] or _cure(source)}", "  ", "    ")


def _cure(source: Source) -> str:
    fetched = source.torchvision is not None
    return f"no; --data-root DIR or {'--download' if fetched else f'`data make {source.name}`'}"


@data.command()
@click.argument("name")
@click.option("--data-root", type=click.Path(path_type=Path), help="Folder to write it to.")
@click.option("--overwrite", is_flag=True, help="Replace a file of its name and other content.")
@as_json
def make(name: str, data_root: Path | None, overwrite: bool, as_json: bool) -> None:
    """Make the data set NAME out of what other packages ship: colour-patches.

    Its arrays are the same everywhere, which their SHA-256 shows. Without --data-root it goes where
    it is looked for: to the folder PYRO_VAE_DATA, or to ~/.cache/pyro_vae.
    """
    from pyro_vae.data import patches, stock
    from pyro_vae.errors import unknown

    if name != patches.NAME:
        raise unknown("data set to make", name, [patches.NAME])
    path = patches.make(data_root or stock.default_root(), overwrite)
    if as_json:
        sources = {photograph.name: photograph.source for photograph in patches.PHOTOGRAPHS}
        echo_json({"file": str(path), "photographs": sources})
        return
    echo_wrapped(f"{path}: {stock.TABLE[name].what}, of", "", "  ")
    for photograph in patches.PHOTOGRAPHS:
        echo_wrapped(f"{photograph.name}: {photograph.source}", "  ", "    ")
