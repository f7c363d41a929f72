"""``pyro-vae data``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import as_json, echo_json, echo_wrapped
from .show import show

if TYPE_CHECKING:
    from pyro_vae.data.vision import Source

__all__ = ["data"]


class _Shown(click.Group):
    """A group of which any word that is no command's is data to be shown."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command of a word, or the one that shows it."""
        if args[0] in self.commands:
            return super().resolve_command(ctx, args)
        return args[0], show, args


@click.group(
    cls=_Shown,
    invoke_without_command=True,
    subcommand_metavar="[NAME|FILE|FOLDER [OPTIONS] | make NAME]",
)
@click.option("--data-root", type=click.Path(path_type=Path), help="Folder to look in first.")
@as_json
@click.pass_context
def data(context: click.Context, /, data_root: Path | None, as_json: bool) -> None:
    """List the data sets; or show what is in one, a FILE or a FOLDER, before anything is trained.

    NAME shows number, shape, range, a histogram, constant pixels, duplicates, missing entries, and
    the observations that suit. It may be a .npy, .npz, .h5 or .zip file, a .csv, .tsv, .parquet or
    .feather table, a .zarr folder, a folder of images or .tar shards, wherever a data set is named.
    """
    if context.invoked_subcommand is not None:
        name = context.invoked_subcommand
        if name != make.name:
            context.default_map = {name: {"data_root": data_root, "as_json": as_json}}
        elif data_root is not None or as_json:
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
