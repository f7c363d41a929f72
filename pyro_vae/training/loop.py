"""Training: one pass of SVI per step, with everything that the logs need from that pass."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyro
import torch
from torch import Tensor

from pyro_vae import measures
from pyro_vae.data import as_images, split
from pyro_vae.errors import TrainingError
from pyro_vae.measures import signs
from pyro_vae.training import pictures, runs
from pyro_vae.training.checks import check_images
from pyro_vae.training.events import FOLDER, Events
from pyro_vae.training.history import History
from pyro_vae.training.progress import Progress, Silent
from pyro_vae.training.settings import Settings
from pyro_vae.training.state import State
from pyro_vae.vae import VAE

__all__ = ["fit"]


def fit(
    vae: VAE,
    images: Any,
    validation: Any = None,
    epochs: int = 60,
    batch_size: int = 128,
    lr: float = 1e-3,
    beta: float | str = 1.0,
    seed: int = 0,
    out: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    data: dict[str, Any] | None = None,
    **options: Any,
) -> History:
    r"""Train a VAE: minimise :math:`\beta\,\mathrm{kl} - \mathrm{reconstruction}`, per image.

    Reconstruction and KL are summed over pixels and latents and averaged over images; nothing else
    is reduced. Pyro's parameter store is not touched; called again, it goes on from the present
    weights with a fresh optimiser.

    Args:
        vae: The model, trained in place and left in evaluation mode.
        images: uint8 levels or floats (N, C, H, W) or (N, D), or a ``torch.utils.data.Dataset``.
        validation: Held-out images, a fraction of ``images`` to hold out, or None.
        epochs: Passes over the images.
        batch_size: Images per step.
        lr: Learning rate.
        beta: β, a number or a schedule as ``"linear:0,1,steps=1000"``.
        seed: Of the batches' order and of all noise; the caller's generators are left alone.
        out: Run folder to write, or None.
        overwrite: Whether ``out`` may hold a run already.
        progress: Who is told while it runs.
        data: Plain data kept in the run's configuration, as the data set's name.
        **options: Fields of :class:`~pyro_vae.training.settings.Settings`.

    Returns:
        The history: every step's and every epoch's record.

    Raises:
        InputError: If an option is out of range or the images do not suit the observation;
            nothing is written then.
        TrainingError: If the loss becomes non-finite; what there is has been saved then.
        KeyboardInterrupt: After saving what there is.

    Example:
        >>> import pyro_vae as pv
        >>> vae = pv.VAE((1, 28, 28), latent_dim=2, net=pv.networks.MLP(hidden=16))
        >>> history = pv.fit(vae, pv.data.load("mnist-5k").train[:256], epochs=1)
        >>> len(history.steps), history.epochs()[0]["beta"]
        (2, 1.0)
    """
    settings = Settings.of(
        epochs=epochs, batch_size=batch_size, lr=lr, beta=beta, seed=seed, **options
    )
    train, held_out = split(as_images(images, vae.data_shape), validation, seed)
    settings.check_held_out(held_out is not None)
    device = next(vae.parameters()).device
    train = train.to(device)
    held_out = None if held_out is None else held_out.to(device)
    for part in (train, held_out):
        if part is not None:
            check_images(vae, part)
    folder = None if out is None else runs.check_free(out, overwrite)
    progress = progress or Silent()
    history = History(kind=vae.obs.kind_on(train))
    warning = _prepare(vae, train, settings, history)
    state = State(vae, settings, len(train))
    for message in [warning, *state.warnings()]:
        _warn(message, history, progress)
    if folder is not None:
        _clear(folder)
    events = Events(folder)
    try:
        _train(state, train, held_out, history, folder, events, progress)
    finally:
        state.finish()
        events.close()
        if "residual" in vae.likelihood.origins():
            measures.freeze_residuals(vae, train)
        if folder is not None:
            runs.save(vae, folder, data=data, fit=settings.to_dict(), kind=history.kind)
            if all(bool(torch.isfinite(p).all()) for p in vae.parameters()):
                shown = train if held_out is None else held_out
                pictures.draw_run(vae, shown, history, folder)
    return history


def _prepare(vae: VAE, train: Tensor, settings: Settings, history: History) -> str | None:
    """Everything that is read off the training images before the first step, and a warning."""
    with measures.fixed_noise(settings.seed, train.device):
        if "data" in vae.likelihood.origins():
            vae.estimate(train)
    constant = measures.best_constant(vae, train)
    history.baselines = {
        "best constant prediction": constant.reconstruction,
        "predicting ½": measures.predict_half(vae, train).reconstruction,
    }
    if settings.init_from_data:
        measures.start_at(vae, constant)
    note = measures.scale_note(vae, history.kind)
    history.notes = [note] if note else []
    return _forecast(vae, train, settings, history)


def _forecast(vae: VAE, train: Tensor, settings: Settings, history: History) -> str | None:
    """Note how many latents should survive, and return a warning where none does."""
    if settings.controller() is not None or settings.elbo not in ("trace", "mean-field"):
        return None  # β, or the weight of each latent, is found during training
    forecast = measures.forecast_of(vae, train, settings.schedule().end, limit=5000)
    history.notes.append(forecast.note())
    return forecast.warning()


def _clear(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in (runs.CONFIG, runs.WEIGHTS, runs.METRICS):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / FOLDER, ignore_errors=True)


def _train(
    state: State,
    train: Tensor,
    held_out: Tensor | None,
    history: History,
    folder: Path | None,
    events: Events,
    progress: Progress,
) -> None:
    settings = state.settings
    progress.start(history, state.total_steps, settings.epochs)
    for epoch in range(1, settings.epochs + 1):
        start = len(history.records)
        with measures.fixed_noise(settings.seed * 1_000_003 + epoch, train.device):
            record = _epoch(state, train, epoch, history, progress)
        history.records.append(record)
        scored = None
        if held_out is not None:
            scored = _held_out(state, held_out, record, history)
        if folder is not None:
            with (folder / runs.METRICS).open("a", encoding="utf-8") as stream:
                stream.writelines(history.lines(start))
        events.write(history.records[start:])
        progress.epoch(record, scored)
        for message in _signs(state, train, epoch, history):
            _warn(message, history, progress)
        if state.end_epoch(scored, history):
            break


def _signs(state: State, train: Tensor, epoch: int, history: History) -> Iterator[str | None]:
    """What the records so far give reason to warn of."""
    training, key = history.epochs(), history.objective
    if epoch == 1:
        active, lr = training[-1]["active_units"], state.settings.lr
        yield signs.exploded(state.vae, train, history.steps, active, lr)
    if state.settled() and not _told_of_collapse(history):
        yield signs.collapsed(training, state.vae.latent_dim)
    yield signs.overfitting(training, history.epochs("held-out"), key)
    yield signs.worse_than_mean_image(state.vae, train, training, key)


def _told_of_collapse(history: History) -> bool:
    """Whether a warning has named what collapse follows from."""
    causes = ("this will", "learning-rate-too-high")
    return any(message.startswith(causes) for message in history.warnings)


def _warn(message: str | None, history: History, progress: Progress) -> None:
    """Warn once of each kind of thing."""
    if message is None or any(message[:30] == said[:30] for said in history.warnings):
        return
    history.warnings.append(message)
    progress.warn(message)


def _epoch(
    state: State, train: Tensor, epoch: int, history: History, progress: Progress
) -> dict[str, Any]:
    state.vae.train()
    rows, moments, n, ends = [], [], 0, [time.perf_counter()]
    for batch in _batches(train, state.settings.batch_size):
        # The first batch has been through every check: later ones need none (they cost a third).
        with pyro.validation_enabled(state.step == 0), measures.local_params():
            # One check refuses a β of 0, where a schedule may well begin.
            pyro.poutine.enable_validation(False)
            row, mean = state.advance(batch)
        rows.append((len(batch), row))
        moments.append(torch.stack([mean.sum(0), mean.square().sum(0)]))
        n += len(batch)
        ends.append(time.perf_counter())
        progress.step(state.step)
    first, second = torch.stack(moments).sum(0) / n
    seconds = time.perf_counter() - ends[0]
    records = state.records(rows, epoch, history.objective)
    for record, (size, _), (start, end) in zip(records, rows, pairwise(ends), strict=True):
        record["images_per_second"] = size / (end - start)
    for record in records:
        if not math.isfinite(record["loss"]):
            raise TrainingError(_diverged(record, state))
    history.records.extend(records)
    weighted = {
        key: sum(r[key] * size for r, (size, _) in zip(records, rows, strict=True)) / n
        for key in ("loss", history.objective, "reconstruction", "kl", "gradient_norm")
    }
    per_latent = torch.stack([row[state.SCALARS :] * size for size, row in rows]).sum(0) / n
    return {
        **records[-1],
        **weighted,
        "record": "epoch",
        "kl_per_latent": per_latent.tolist() or None,
        "active_units": int((second - first.square() > measures.ACTIVE).sum()),
        "images_per_second": n / seconds,
    }


def _batches(train: Tensor, size: int) -> Iterator[Tensor]:
    for index in torch.randperm(len(train), device=train.device).split(size):
        yield train[index]


def _held_out(
    state: State, images: Tensor, training: dict[str, Any], history: History
) -> dict[str, Any]:
    began = time.perf_counter()
    scores = measures.scores_of(measures.held_out_terms(state.averaged, images), history.kind)
    loss = state.held_out_loss(images, training["beta"], scores)
    record = {
        "record": "epoch",
        "split": "held-out",
        "epoch": training["epoch"],
        "step": training["step"],
        "loss": loss,
        "beta": training["beta"],
        **scores,
        "gradient_norm": None,
        "learning_rate": training["learning_rate"],
        "images_per_second": len(images) / (time.perf_counter() - began),
    }
    history.records.append(record)
    return record


def _diverged(record: dict[str, Any], state: State) -> str:
    return (
        f"the loss of {state.vae.obs.title} is not finite at step {record['step']} "
        f"(β = {record['beta']:g}, learning rate {record['learning_rate']:g}): "
        "lower --lr, or give its parameters a higher floor"
    )
