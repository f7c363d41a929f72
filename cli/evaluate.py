"""``pyro-vae evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .options import as_json, data_options, echo_json, load_data, load_run, own_head

__all__ = ["evaluate"]


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@data_options
@own_head
@as_json
def evaluate(
    run: Path,
    data: str | None,
    data_root: Path | None,
    download: bool,
    obs: str | None,
    as_json: bool,
) -> None:
    """Score a RUN on held-out images, with the baselines that keep the scores honest."""
    import pyro_vae as pv

    vae = load_run(run, obs)
    images, _ = load_data(data, data_root, download, pv.training.read_config(run))
    scores = pv.evaluate(vae, images.test)
    if as_json:
        echo_json(scores)
        return
    click.echo(f"{vae.obs.title}, a {scores['kind']} on these {scores['images']} images")
    for label, text in _rows(scores):
        click.echo(f"  {label:<22} {text}")


def _rows(scores: dict[str, Any]) -> list[tuple[str, str]]:
    name = "elbo" if scores["objective"] is None else "objective"
    beaten = scores[name] > scores["collapsed"]
    mark = "best constant prediction" if beaten else "NOT BEATEN by this run"
    rows = [
        (name, f"{scores[name]:10.2f} nats per image, higher is better"),
        ("  if collapsed", f"{scores['collapsed']:10.2f} nats per image, {mark}"),
        ("reconstruction", f"{scores['reconstruction']:10.2f} nats per image"),
        ("kl", f"{scores['kl']:10.2f} nats per image"),
        ("active units", f"{scores['active_units']:10d} of {len(scores['kl_per_latent'])}"),
    ]
    if scores["bits_per_dim"] is None:
        why = "not a likelihood" if name == "objective" else "needs 8-bit data"
        rows.append(("bits per dimension", f"{'-':>10} {why}"))
    else:
        rows += [
            ("bits per dimension", f"{scores['bits_per_dim']:10.3f} lower is better (uniform: 8)"),
            ("  if collapsed", f"{scores['collapsed_bits_per_dim']:10.3f}"),
        ]
    if scores["frozen"] is not None:
        frozen = scores["frozen"]
        rows.append((frozen["name"], f"{frozen['elbo']:10.2f} elbo, nats per image"))
    return [
        *rows,
        ("mse of the mean", f"{scores['mse']:10.4f} per pixel on [0, 1]"),
        ("  of the mean image", f"{scores['mse_mean_image']:10.4f}"),
        ("spread over inputs", f"{scores['spread']:10.4f} standard deviation; 0 if collapsed"),
    ]
