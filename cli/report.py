"""``pyro-vae report``."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["report"]


@click.command()
@click.argument(
    "runs", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="DIR|RUN..."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE.html",
    help="Page to write [DIR/report.html; report.html of several].",
)
@click.option("--overwrite", is_flag=True, help="Replace a report that is there.")
def report(runs: tuple[Path, ...], out: Path | None, overwrite: bool) -> None:
    """Make one page of HTML on runs, or on all runs in a DIR, to look at and to share.

    It needs no network: scores with their baselines, curves, reconstructions, latents,
    calibration, diagnoses, settings, and the claims of a comparison with their verdicts. Its
    figures lie beside it as PNG and SVG.
    """
    import pyro_vae as pv

    click.echo(pv.report(*runs, out=out, overwrite=overwrite, progress=_tell))


def _tell(name: str) -> None:
    click.echo(f"looking at {name}", err=True)
