"""``pyro-vae classifier``."""

from __future__ import annotations

from pathlib import Path

import click

from .options import as_json, echo_json, size_options

__all__ = ["cache_option", "classifier"]


cache_option = click.option(
    "--cache",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of trained classifiers [~/.cache/pyro_vae/classifiers].",
)


@click.command()
@click.argument("data", metavar="DATA")
@click.option("--data-root", type=click.Path(path_type=Path), help="Folder to look for it in.")
@click.option("--download", is_flag=True, help="Let torchvision fetch it if it is not at hand.")
@size_options
@cache_option
@as_json
def classifier(
    data: str,
    data_root: Path | None,
    download: bool,
    resize: int | None,
    crop: int | None,
    cache: Path | None,
    as_json: bool,
) -> None:
    """Train the classifier of DATA that samples are scored by, or find it in the cache.

    DATA is a name from `pyro-vae data`, an .npz file with labels, or a folder of classes. The same
    data give the same weights.
    """
    from pyro_vae.metrics import classifier_for
    from pyro_vae.training.run_data import load_data

    loaded, described = load_data(data, data_root, download, resize=resize, crop=crop)
    found = classifier_for(loaded, cache, lambda line: click.echo(line, err=True))
    if as_json:
        echo_json(
            {
                "data": described["name"],
                "accuracy": found.accuracy,
                "tested": found.tested,
                "sha256": found.sha256,
                "features": found.dims,
                "path": str(found.path),
                "trained_now": found.fresh,
            }
        )
        return
    rows = [
        ("accuracy", f"{found.accuracy:.4f} on {found.tested} test images"),
        ("weights", f"SHA-256 {found.sha256[:16]}..."),
        ("features", f"{found.dims} of the penultimate layer"),
        ("cached" if found.fresh else "from the cache", str(found.path)),
    ]
    click.echo(f"classifier of {described['name']}")
    for label, text in rows:
        click.echo(f"  {label:<15} {text}")
