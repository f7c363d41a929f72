"""Epoch after epoch: steps, held-out scores, what there is to warn of, and when it is enough."""

from __future__ import annotations

import time
from collections.abc import Iterator

from pyro_vae import elbo, warning_signs
from pyro_vae.data import Images
from pyro_vae.data.batch import Loaded
from pyro_vae.history import HeldOut, History, Record
from pyro_vae.training.events import Events
from pyro_vae.training.faults import FaultError
from pyro_vae.training.progress import Progress
from pyro_vae.training.run_writer import RunWriter
from pyro_vae.training.train_state import TrainState
from pyro_vae.training.trainer import Trainer
from pyro_vae.warning_signs import few_words

__all__: list[str] = []


def run_epochs(
    course: Trainer, train: Images, held_out: Images | None, keeper: RunWriter, progress: Progress
) -> None:
    state, history = course.state, course.history
    events = Events(keeper.folder)

    def after_step() -> None:
        keeper.after_step(course)
        progress.step(state.step)

    progress.start(history, state.total_steps, state.settings.epochs)
    keeper.save(course)
    try:
        while course.epoch <= state.settings.epochs:
            start = len(history.records)
            try:
                record = course.run_epoch(train, after_step)
            except FaultError as fault:
                if not keeper.roll_back(course):
                    raise
                warn(f"rolled back: {fault.explanation.sentence}", history, progress)
                continue
            warn(state.not_compiled, history, progress)
            for sentence in course.left_out[:1]:
                warn(
                    f"batches are left out that give nothing finite, {sentence}", history, progress
                )
            scored = None
            if held_out is not None:
                scored = _held_out(state, held_out, record, history)
            events.write(history.records[start:])
            progress.epoch(record, scored)
            judged = held_out is not None and few_words(len(held_out)) is None
            for message in _signs(state, train[: elbo.BLOCK], judged, history):
                warn(message, history, progress)
            stop = state.end_epoch(scored, history)
            keeper.log(course)
            if stop:
                break
    finally:
        events.close()


def _signs(
    state: TrainState, train: Loaded, judged: bool, history: History
) -> Iterator[str | None]:
    """What the records so far give reason to warn of."""
    training, key = history.epochs(), history.objective
    if len(training) == 1:
        active, lr = training[-1]["active_units"], state.settings.lr
        yield warning_signs.exploded(state.vae, train, history.steps, active, lr)
    if state.settled() and not _told_of_collapse(history):
        yield warning_signs.collapsed(training, state.vae.latent_dim)
    if judged:
        yield warning_signs.overfitting(state.vae, training, history.epochs("held-out"), key)
    if not state.vae.joint:
        yield warning_signs.worse_than_mean_image(state.vae, train, training, key)


def _told_of_collapse(history: History) -> bool:
    """Whether a warning has named what collapse follows from."""
    causes = ("this will", "learning-rate-too-high")
    return any(message.startswith(causes) for message in history.warnings)


def warn(message: str | None, history: History, progress: Progress) -> None:
    """Warn once of each kind of thing."""
    if message is None or any(message[:30] == said[:30] for said in history.warnings):
        return
    history.warnings.append(message)
    progress.warn(message)


def _held_out(state: TrainState, images: Images, training: Record, history: History) -> Record:
    began = time.perf_counter()
    scores = elbo.scores_of(elbo.held_out_terms(state.averaged, images), history.kind)
    loss = state.held_out_loss(images, training["beta"], scores)
    record: HeldOut = {
        "record": "epoch",
        "split": "held-out",
        "part": history.part,
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
