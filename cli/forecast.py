"""``pyro-vae forecast``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .options import (
    COUNT,
    HEAD_OPTIONS,
    as_json,
    data_options,
    echo_json,
    head_of,
    observation_options,
    replace_option,
    size_options,
)
from .pages import explained

__all__ = ["forecast"]


@click.command()
@data_options
@size_options
@observation_options
@click.option("--beta", default=1.0, show_default=True, help="Weight of the KL.")
@click.option("--latent-dim", default=20, type=COUNT, show_default=True, help="Length of z.")
@click.option(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.png",
    help="Draw the rate-distortion curve.",
)
@replace_option
@as_json
def forecast(**options: Any) -> None:
    """Tell before training how many latents will survive, and where all collapse.

    A latent direction survives where its variance in the data exceeds βσ²: exact for linear
    networks and a Gaussian, approximate for other observations, an upper bound for other networks.
    """
    import pyro_vae as pv
    from pyro_vae.forecasting import draw_forecast
    from pyro_vae.training.run_data import load_data

    observation = {name: options[name] for name in HEAD_OPTIONS}
    head_of(**observation)
    plot: Path | None = options["plot"]
    if plot is not None:
        _check_picture(plot, options["overwrite"])
    data, described = load_data(
        options["data"],
        options["data_root"],
        options["download"],
        resize=options["resize"],
        crop=options["crop"],
    )
    if data.table is not None:
        raise pv.InputError(f"--data {described['name']} is a table: a forecast is of images")
    head = head_of(**observation, images=pv.data.looked_at(data.train))
    found = pv.forecast(data.train, head, options["beta"], options["latent_dim"])
    if plot is not None:
        draw_forecast(found, plot)
    if options["as_json"]:
        echo_json(found.to_dict())
        return
    click.echo(f"{head.title}, β = {options['beta']:g}, on {described['name']}")
    click.echo(str(found))
    warning = found.warning()
    if warning:
        click.echo("\n" + click.wrap_text(warning, 79, "  ", "  "))
    click.echo(explained("forecast"))


def _check_picture(path: Path, overwrite: bool) -> None:
    from pyro_vae import ours
    from pyro_vae.errors import InputError

    if path.suffix != ".png":
        raise InputError(f"--plot must name a .png file, got {path}")
    if not path.parent.is_dir():
        raise InputError(f"--plot names the folder {path.parent}, which does not exist")
    ours.check_picture(path, overwrite)
