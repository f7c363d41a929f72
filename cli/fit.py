"""``pyro-vae fit``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .options import (
    HEAD_OPTIONS,
    as_json,
    data_options,
    echo_json,
    head_of,
    load_data,
    observation_options,
)

__all__ = ["fit"]


@click.command()
@data_options
@observation_options
@click.option("--net", default="mlp", show_default=True, help="Networks: mlp or conv.")
@click.option("--latent-dim", default=20, show_default=True, help="Length of z.")
@click.option("--hidden", type=int, help="Width of hidden layers (mlp: 400, conv: 256).")
@click.option("--depth", type=int, help="Hidden layers (mlp: 1) or stridings (conv: 2).")
@click.option("--dropout", default=0.0, show_default=True, help="Rate after hidden layers.")
@click.option("--epochs", default=60, show_default=True, help="Passes over the training images.")
@click.option("--batch-size", default=128, show_default=True, help="Images per step.")
@click.option("--lr", default=1e-3, show_default=True, help="Learning rate.")
@click.option(
    "--beta",
    default="1",
    show_default=True,
    metavar="SCHEDULE",
    help="Weight of the KL: a number, or linear:0,1,steps=1000, cosine:..., sigmoid:..., "
    "cyclical:0,1,period=500,ratio=0.5 (epochs=N for epochs).",
)
@click.option("--target-kl", type=float, help="Adapt β to hold the KL there, nats per image.")
@click.option(
    "--target-reconstruction",
    type=float,
    help="Adapt β to hold the reconstruction there, nats per image.",
)
@click.option(
    "--elbo",
    default="trace",
    show_default=True,
    metavar="NAME",
    help="Objective: trace, mean-field, iwae:K, dreg:K, renyi:ALPHA, free-bits:NATS or "
    "capacity:NATS.",
)
@click.option("--optimizer", default="adam", show_default=True, help="adam, adamw, rmsprop, sgd.")
@click.option("--weight-decay", default=0.0, show_default=True, help="Of the optimiser.")
@click.option(
    "--lr-schedule", default="constant", show_default=True, help="constant, cosine, step, plateau."
)
@click.option("--lr-warm-up", default=0, show_default=True, metavar="STEPS", help="Linear rise.")
@click.option("--clip", type=float, metavar="NORM", help="Largest norm of the gradient.")
@click.option("--average", type=float, metavar="DECAY", help="Average the weights exponentially.")
@click.option("--patience", type=int, metavar="EPOCHS", help="Stop after so many without gain.")
@click.option("--keep-best", is_flag=True, help="End with the best held-out weights.")
@click.option(
    "--augment",
    multiple=True,
    metavar="NAME",
    help="Augment training images: flip, shift, rotate, zoom, crop.",
)
@click.option("--init-from-data", is_flag=True, help="Start at the best constant prediction.")
@click.option("--seed", default=0, show_default=True, help="Of weights, batches and noise.")
@click.option("--out", type=click.Path(path_type=Path), help="Run folder [runs/OBS-SEED].")
@click.option("--overwrite", is_flag=True, help="Let --out hold a run already.")
@as_json
def fit(**options: Any) -> None:
    """Train a VAE and write a run folder.

    Figures are per image and in nats: elbo = reconstruction − kl at β = 1; higher is better.
    """
    import torch

    import pyro_vae as pv
    from pyro_vae.training.runs import check_free

    from .progress import Watcher

    observation = {name: options.pop(name) for name in HEAD_OPTIONS}
    head = head_of(**observation)
    out = options.pop("out") or Path("runs") / f"{head.title}-{options['seed']}"
    check_free(out, options["overwrite"])
    net = _network(*(options.pop(k) for k in ("net", "hidden", "depth", "dropout")))
    latent_dim, asked_json = options.pop("latent_dim"), options.pop("as_json")
    settings = {k: v for k, v in options.items() if k not in ("data", "data_root", "download")}
    pv.training.Settings.of(**{k: v for k, v in settings.items() if k != "overwrite"})
    data, described = load_data(options["data"], options["data_root"], options["download"])
    head = head_of(**observation, images=data.train)
    if head.name is None:
        pv.testing.check_head(head, tuple(data.train.shape[1:]))
    torch.manual_seed(options["seed"])
    vae = pv.VAE(tuple(data.train.shape[1:]), latent_dim, head, net)
    with Watcher(out) as watcher:
        history = pv.fit(
            vae,
            data.train,
            data.test,
            out=out,
            progress=watcher,
            data=described,
            **settings,
        )
    click.echo(f"run folder: {out}", err=True)
    if asked_json:
        held_out = history.epochs("held-out")
        echo_json({"run": str(out), "held_out": held_out[-1] if held_out else None})


def _network(name: str, hidden: int | None, depth: int | None, dropout: float) -> Any:
    from pyro_vae.errors import unknown
    from pyro_vae.networks import NETWORKS

    if name not in NETWORKS:
        raise unknown("network", name, NETWORKS)
    given: dict[str, Any] = {"hidden": hidden, "depth": depth, "dropout": dropout}
    return NETWORKS[name](**{key: value for key, value in given.items() if value is not None})
