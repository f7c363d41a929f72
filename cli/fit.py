"""``pyro-vae fit``."""

from __future__ import annotations

import logging
from collections.abc import Callable
from logging.handlers import MemoryHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import (
    absolute,
    as_json,
    column_option,
    data_options,
    echo_json,
    load_data,
    observation_options,
    own_of,
    size_options,
)

if TYPE_CHECKING:
    from pyro_vae.data import Data
    from pyro_vae.training import History

__all__ = ["fit"]


@click.command()
@data_options
@size_options
@column_option
@click.option("--images", type=int, help="Use the first so many, training and held-out ones each.")
@observation_options
@click.option(
    "--net",
    default="mlp",
    show_default=True,
    metavar="NAME",
    help="Networks: mlp, conv, or ladder for a hierarchy; of an installed package by their name, "
    "or package.module:attribute of your own, as --prior and --posterior.",
)
@click.option(
    "--latent-dim",
    default=20,
    type=str,
    show_default=True,
    metavar="D",
    help="Length of z; D1,D2,... of a hierarchy, from the data up, with --net ladder.",
)
@click.option("--hidden", type=int, help="Width of hidden layers (mlp: 400, conv: 256).")
@click.option("--depth", type=int, help="Hidden layers (mlp: 1) or stridings (conv: 2).")
@click.option("--dropout", type=float, help="Rate after hidden layers [0].")
@click.option(
    "--prior",
    default="standard-normal",
    show_default=True,
    metavar="NAME",
    help="p(z): standard-normal, diagonal-normal, mixture:K, vamp:K (of the posteriors of K "
    "pseudo-inputs) or flow:STEPS; p(z|c) with --condition: diagonal, full, ... as --posterior; "
    "of several latents one for each, NAME,NAME.",
)
@click.option(
    "--posterior",
    default="diagonal",
    show_default=True,
    metavar="NAME",
    help="q(z|x): diagonal or full normal, iaf:STEPS or coupling:STEPS; of several latents all "
    "alike, or NAME,NAME.",
)
@click.option(
    "--condition",
    metavar="WHAT",
    help="Model p(x|c): labels, for the data set's classes as what both networks are told; of a "
    "table NAME,NAME for columns.",
)
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
@click.option(
    "--resume",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="Go on with a run that was stopped, with the options that it began with.",
)
@click.option("--accumulate", default=1, show_default=True, help="Parts that a batch is split in.")
@click.option(
    "--device", default="auto", show_default=True, help="cpu, cuda, mps, or auto: the fastest."
)
@click.option(
    "--precision",
    default="float32",
    show_default=True,
    help="What the networks compute in: float32, bfloat16 or float16.",
)
@click.option(
    "--compile",
    default="auto",
    show_default=True,
    help="Steps as compiled graphs: on, off, or auto where a run is long enough.",
)
@click.option(
    "--checkpoint",
    default="60s",
    show_default=True,
    metavar="INTERVAL",
    help="Save for --resume every so many steps, or seconds (60s), or off.",
)
@click.option(
    "--keep-checkpoints",
    default=2,
    show_default=True,
    metavar="K",
    help="Keep so many of them, the last ones.",
)
@click.option(
    "--workers",
    default=0,
    show_default=True,
    help="Processes that read image files and shards too large for memory.",
)
@click.option(
    "--on-nan",
    default="stop",
    show_default=True,
    metavar="WHAT",
    help="After a step that is not finite: stop, skip its batch, or rollback to the last "
    "checkpoint with half the learning rate.",
)
@as_json
@click.pass_context
def fit(context: click.Context, /, **options: Any) -> None:
    """Train a VAE and write a run folder.

    Figures are per image and in nats: elbo = reconstruction − kl at β = 1; higher is better.
    """
    from pyro_vae.data.told import told
    from pyro_vae.measures import few_words
    from pyro_vae.training import ranks

    asked_json, resume = options.pop("as_json"), options.pop("resume")
    with ranks.group():
        if resume is not None:
            out, history, data = resume, *_resumed(context, resume, options)
        else:
            out, history, data = _fitted(options)
        if ranks.present() > 0:
            return
    few = few_words(len(data.held_out), _unit(data))
    if few is None:
        _tell_best(history)
    else:
        click.echo(few, err=True)
    click.echo(f"run folder: {out}", err=True)
    if asked_json:
        held_out = history.epochs("held-out")
        last = held_out[-1] if held_out else None
        echo_json({"run": str(out), "data": told(data), "held_out": last})


def _tell_best(history: History) -> None:
    """Say so where held-out images were scored better 5 epochs or more before training ended."""
    key, held_out = history.objective, history.epochs("held-out")
    # --keep-best looks at none whose β is still on its way.
    held_out = [record for record in held_out if record["beta"] == held_out[-1]["beta"]]
    if len(held_out) <= 5:
        return
    best, last = max(held_out[:-5], key=lambda record: record[key]), held_out[-5:]
    # Hundredths of a nat are noise.
    if round(best[key], 1) > round(max(record[key] for record in last), 1):
        where = f"{best[key]:,.1f} at epoch {best['epoch']}"
        click.echo(f"best held-out {key}: {where} (--keep-best ends there)", err=True)


def _read(load: Callable[[], Data], name: str) -> tuple[Data, list[str]]:
    """Data, and lines that say what was read, before those that were logged meanwhile."""
    from pyro_vae.data.told import told_words

    held = MemoryHandler(10**6, flushLevel=10**6)
    log = logging.getLogger("pyro_vae")
    log.addHandler(held)
    try:
        data = load()
    finally:
        log.removeHandler(held)
    logged = [record.getMessage() for record in held.buffer]
    # What was passed over is in the first line already.
    return data, [told_words(data, name), *(line for line in logged if "passed over" not in line)]


def _unit(data: Data) -> str:
    return "image" if data.table is None else "row"


def _fitted(options: dict[str, Any]) -> tuple[Path, History, Data]:
    from pyro_vae.training import Recipe
    from pyro_vae.training.runs import check_apart, check_free

    from .progress import Watcher

    out, overwrite = options.pop("out"), options.pop("overwrite")
    options["range"] = options.pop("interval")
    options["data"] = absolute(options["data"]) or "mnist-5k"
    recipe = Recipe.of(**options)
    if out is not None:
        check_apart(out, recipe.data)
    out = out or Path("runs") / f"{recipe.title}-{recipe.settings.seed}"
    check_free(out, overwrite)
    data, lines = _read(recipe.load, recipe.data)
    with Watcher(out, lines, _unit(data)) as watcher:
        return out, *recipe.run(out, overwrite, watcher)[1:]


_FREE = ("keep_checkpoints", "workers")
_OWN = ("obs", "net", "prior", "posterior")
_WITH_RESUME = ("resume", "device", "data", "data_root", "as_json", *_OWN, *_FREE)


def _resumed(context: click.Context, run: Path, options: dict[str, Any]) -> tuple[History, Data]:
    from pyro_vae import fit as train
    from pyro_vae.errors import InputError
    from pyro_vae.training.checkpoints import FOLDER
    from pyro_vae.training.devices import device_of
    from pyro_vae.training.runs import model_of, read_config

    from .progress import Watcher

    given = [
        name
        for name in options
        if context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT
    ]
    for name in given:
        if name not in _WITH_RESUME:
            raise InputError(
                f"--resume goes on with the options that the run began with: leave out "
                f"--{name.replace('_', '-')}"
            )
    config = read_config(run)
    if not (run / FOLDER).is_dir():
        raise InputError(
            f"{run} is finished: there is nothing to resume; to train longer, start anew with "
            "more --epochs"
        )
    vae = model_of(config, run, **own_of({name: options[name] for name in _OWN if name in given}))
    vae.to(device_of(options["device"]))
    described = config.get("data") or {}
    data, lines = _read(
        lambda: load_data(options["data"], options["data_root"], False, config)[0],
        options["data"] or str(described.get("name")),
    )
    with Watcher(run, lines, _unit(data)) as watcher:
        history = train(
            vae,
            data.train,
            data.held_out,
            out=run,
            resume=True,
            progress=watcher,
            data=config.get("data"),
            **{**config["fit"], **{name: options[name] for name in _FREE if name in given}},
        )
        return history, data
