"""``pyro-vae fit``."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from logging.handlers import MemoryHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import (
    as_json,
    declared,
    echo_json,
    own_of,
)
from .pages import explained

if TYPE_CHECKING:
    from pyro_vae.data import Data
    from pyro_vae.training import History, Trained
    from pyro_vae.vae import VAE

__all__ = ["fit"]


@click.command()
@declared()
@click.option("--out", type=click.Path(path_type=Path), help="Run folder [runs/OBS-SEED].")
@click.option("--overwrite", is_flag=True, help="Let --out hold a run already.")
@click.option(
    "--resume",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="Go on with a run that was stopped, with the options that it began with; with --epochs N "
    "beside it train any run until it has done N.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.toml",
    help="Take options from a file, NAME = VALUE in each line; those given beside it count.",
)
@as_json
@click.pass_context
def fit(context: click.Context, /, **options: Any) -> None:
    """Train a VAE and write a run folder.

    Figures are per image and in nats: elbo = reconstruction − kl at β = 1; higher is better.
    """
    from pyro_vae.data.told import told
    from pyro_vae.training import distributed, read_config
    from pyro_vae.warning_signs import few_words

    asked_json, resume = options.pop("as_json"), options.pop("resume")
    if options["config"] is not None and resume is None:
        options = _from_file(context, options)
    with distributed.group():
        if resume is not None:
            out, (vae, history, data) = resume, _resumed(context, resume, options)
        else:
            out, (vae, history, data) = _fitted(options)
        if distributed.present() > 0:
            return
    few = few_words(len(data.held_out), _unit(data))
    best = bool(read_config(out)["fit"].get("keep_best"))
    if few is None:
        _tell_best(history, best)
        _tell_score(history, _unit(data), best, _ppca(vae, data, history.kind))
    else:
        click.echo(few, err=True)
    click.echo(f"run folder: {out}; next: pyro-vae diagnose {out}", err=True)
    click.echo(explained("fit"), err=True)
    if asked_json:
        end = history.ended(best)
        held_out = None if end is None or end["split"] != "held-out" else end
        echo_json({"run": str(out), "data": told(data), "held_out": held_out})


def _tell_score(history: History, unit: str, best: bool, ppca: float | None) -> None:
    """The score it ends with beside what needs no network, and which of them is better.

    Of the best weights, where those were kept, it is theirs.
    """
    from pyro_vae.history import value_of

    constant, last = history.baselines.get("best constant prediction"), history.ended(best)
    if constant is None or last is None:
        return
    key = history.objective
    part = history.part if last["split"] == "held-out" else "training"
    reached = value_of(last, key)
    click.echo(f"{part} {key}: {reached:,.1f} nats per {unit}", err=True)
    pca = "" if ppca is None else f", PCA {ppca:,.1f}"
    said = f"without a network: constant {constant:,.1f}{pca} (fitted to training {unit}s)"
    click.echo(said, err=True)
    if not reached > constant:
        click.echo(
            "warning: worse than one constant prediction: what it learned is of no use yet",
            err=True,
        )
    elif ppca is not None and not reached > ppca:
        click.echo(
            "warning: worse than PCA of as many latents: diagnose says what is missing",
            err=True,
        )


def _tell_best(history: History, kept: bool) -> None:
    """Say so where held-out images were scored better before training ended."""
    from pyro_vae.history import value_of

    records, key = history.judged(), history.objective
    part = "validation" if history.part == "validation" else "held-out"
    end = history.ended(kept)
    if end is None or end["split"] != "held-out":
        return
    if kept:
        said = f"{value_of(end, key):,.1f} at epoch {end['epoch']}"
        if end is not records[-1]:
            click.echo(f"best {part} {key}: {said}, whose weights are kept", err=True)
        return
    if len(records) <= 5:
        return
    best, last = max(records[:-5], key=lambda record: value_of(record, key)), records[-5:]
    # Hundredths of a nat are noise.
    reached = value_of(best, key)
    if round(reached, 1) > round(max(value_of(record, key) for record in last), 1):
        where = f"{reached:,.1f} at epoch {best['epoch']}"
        cure = "--keep-best ends there"
        if history.part == "test":
            cure = "of the test part; --keep-best chooses by a validation part"
        click.echo(f"best {part} {key}: {where} ({cure})", err=True)


_MOST = 5 * 10**7
"""Numbers in training images of which probabilistic PCA is a matter of seconds."""


def _ppca(vae: VAE, data: Data, kind: str) -> float | None:
    """Probabilistic PCA's score of the held-out images; None where it has none, or not soon."""
    from pyro_vae.data import as_images, as_source, looked_at
    from pyro_vae.metrics.baselines import FITTED, ppca_nats

    if vae.joint:
        return None
    device = next(vae.parameters()).device
    train = looked_at(as_source(data.train, vae.data_shape))[:FITTED].to(device)
    if len(train) * math.prod(vae.data_shape) > _MOST:
        return None
    held_out = looked_at(as_images(data.held_out, vae.data_shape))[:FITTED].to(device)
    if len(held_out) * math.prod(vae.data_shape) > _MOST:
        return None
    return ppca_nats(vae, held_out, kind, train, vae.latent_dim)


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


def _fitted(options: dict[str, Any]) -> tuple[Path, Trained]:
    from pyro_vae.training import RunConfig
    from pyro_vae.training.run_data import absolute
    from pyro_vae.training.runs import check_apart, check_free

    from .progress import Watcher

    out, overwrite = options.pop("out"), options.pop("overwrite")
    options.pop("config")
    for name in ("data", "validation"):
        options[name] = absolute(options[name])
    run = RunConfig.of(**{k: v for k, v in options.items() if k != "data" or v is not None})
    if out is not None:
        check_apart(out, run.data)
        if run.validation is not None:
            check_apart(out, run.validation, "validation")
    out = out or Path("runs") / f"{run.title}-{run.fit.seed}"
    check_free(out, overwrite)
    data, lines = _read(run.load, run.data)
    with Watcher(out, lines, _unit(data)) as watcher:
        return out, run.run(out, overwrite, watcher)


def _from_file(context: click.Context, options: dict[str, Any]) -> dict[str, Any]:
    """The options of a file, and over them those that were given beside it."""
    import tomllib

    from pyro_vae.config import OPTIONS, read
    from pyro_vae.errors import InputError

    path = options["config"]
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"--config {path}: {error}") from None
    found = dict(options)
    for key, value in table.items():
        name = key.replace("-", "_")
        source = context.get_parameter_source(name)
        value = read(OPTIONS, name, value)
        if source is None or source is click.core.ParameterSource.DEFAULT:
            found[name] = value
    return found


_OWN = ("obs", "net", "prior", "posterior")


def _resumed(context: click.Context, run: Path, options: dict[str, Any]) -> Trained:
    from pyro_vae.config.own import resolved
    from pyro_vae.errors import InputError
    from pyro_vae.training import read_config, resume
    from pyro_vae.training.resuming import FREE, check_unfinished
    from pyro_vae.training.run_config import OWN
    from pyro_vae.training.run_data import load_data

    from .progress import Watcher

    given = [
        name
        for name in options
        if context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT
    ]
    for name in given:
        if name not in ("device", "data", "data_root", "epochs", *_OWN, *OWN, *FREE):
            raise InputError(
                f"--resume goes on with the options that the run began with: leave out "
                f"--{name.replace('_', '-')}"
            )
    config = read_config(run)
    epochs = options["epochs"] if "epochs" in given else None
    check_unfinished(run, epochs)
    own: dict[str, Any] = own_of({name: options[name] for name in _OWN if name in given})
    for name in (*OWN, *FREE):
        if name in given:
            own[name] = resolved(name, options[name])
    described = config.get("data") or {}
    data, lines = _read(
        lambda: load_data(options["data"], options["data_root"], False, config)[0],
        options["data"] or str(described.get("name")),
    )
    with Watcher(run, lines, _unit(data)) as watcher:
        return resume(run, data, watcher, options["device"], epochs, **own)
