"""``pyro-vae data``."""

from __future__ import annotations

from pathlib import Path

import click

from .options import as_json, echo_json

__all__ = ["data"]


@click.command()
@click.option("--data-root", type=click.Path(path_type=Path), help="Folder to look in first.")
@as_json
def data(data_root: Path | None, as_json: bool) -> None:
    """List the data sets: what each holds, where it came from, whether it is at hand.

    Where one is named, a .npy or .npz file or a folder of images may be given instead.
    """
    from pyro_vae.data import stock

    rows = []
    for source in stock.TABLE.values():
        folder = None if source.torchvision is None else stock.find(source, data_root)
        there = "in this package" if source.torchvision is None else folder
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
    for row in rows:
        click.echo(f"{row['name']}: {row['holds']}")
        click.echo(f"  from: {row['origin']}")
        click.echo(f"  at hand: {row['at hand'] or 'no; --data-root DIR or --download'}")
