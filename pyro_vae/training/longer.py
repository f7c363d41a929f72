"""Runs that train longer than they began with: where they were, and what their schedules do."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyro_vae import elbo, optimisers
from pyro_vae.data import Images
from pyro_vae.errors import InputError
from pyro_vae.history import History, Record
from pyro_vae.training.checkpoints import FOLDER
from pyro_vae.training.runs import METRICS
from pyro_vae.training.train_state import TrainState
from pyro_vae.training.trainer import Trainer
from pyro_vae.types import JSON

__all__: list[str] = []


@dataclass(frozen=True)
class Longer:
    """Where a run is, of which there may be no checkpoint any more.

    Attributes:
        records: Its history's, up to the last whole epoch.
        config: Its configuration.
    """

    records: list[Record]
    config: JSON

    @classmethod
    def of(cls, folder: Path, wanted: int, config: JSON) -> Longer:
        """Where the run of a folder is.

        Args:
            folder: The run's.
            wanted: How many epochs it is to have.
            config: Its configuration.

        Raises:
            InputError: If it has as many already, or its records are gone.
        """
        try:
            records = History.read(folder / METRICS).records
        except (FileNotFoundError, UnicodeDecodeError):
            records = []
        ends = [i for i, record in enumerate(records, 1) if record.get("record") == "epoch"]
        records = records[: max(ends, default=0)]
        done = max((record["epoch"] for record in records), default=0)
        if not done and not (folder / FOLDER).is_dir():
            raise InputError(
                f"{folder} has no records in {METRICS}: how far it was trained is not known"
            )
        if wanted <= done:
            raise InputError(
                f"epochs must be more than the {done} that {folder} has done, got {wanted}"
            )
        return cls(records, config)

    def take_up(self, course: Trainer, held_out: Images | None, anew: bool) -> str:
        """Bring a run's course to where the run is.

        Args:
            course: Of all its epochs.
            held_out: Held-out images, or None.
            anew: Whether nothing but the weights is left of it.

        Returns:
            A line that says what the schedules do.
        """
        state = course.state
        if anew:
            last = _last(self.records)
            course.epoch, state.step = last["epoch"] + 1, last["step"]
            state.start_beta(last["beta"])
        _bring_up(state, _last(self.records) if anew else None)
        if anew and held_out is not None and state.settled():
            _judge(state, held_out, course.history)
        done, epochs = course.epoch - 1, state.settings.epochs
        how = ", from its weights, with a fresh optimiser" if anew else ""
        return f"goes on after epoch {done} to {epochs}{how}: {_rate(state)}; {_beta(state)}"


def _last(records: Sequence[Record]) -> Record:
    """The last epoch's record on training images."""
    return next(
        record
        for record in reversed(records)
        if record["record"] == "epoch" and record["split"] == "training"
    )


def _bring_up(state: TrainState, last: Record | None) -> None:
    """Learning rates as if they had been scheduled for all epochs from the first step on."""
    settings, optimiser = state.settings, state.optimiser
    if state.per_epoch is not None and last is None:
        return  # a plateau's rate and patience are the checkpoint's
    for group in optimiser.param_groups:
        group["lr"] = group.get("initial_lr", group["lr"])
    state.per_step, state.per_epoch = optimisers.make_schedules(
        settings.lr_schedule, optimiser, state.total_steps, settings.lr_warm_up
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is not the optimiser's turn
        for _ in range(state.step):
            for scheduler in state.per_step:
                scheduler.step()
    if state.per_epoch is not None and last is not None:
        share = last["learning_rate"] / optimiser.param_groups[0]["lr"]
        for group in optimiser.param_groups:
            group["lr"] *= share


def _judge(state: TrainState, held_out: Images, history: History) -> None:
    """Take the weights that there are for the best so far."""
    scores = elbo.scores_of(elbo.held_out_terms(state.averaged, held_out), history.kind)
    score = scores["reconstruction"] - scores["kl"]
    kept: dict[str, Any] = {}
    if state.settings.keep_best:
        kept = copy.deepcopy(state.averaged.state_dict())
    state.best = (score, kept)
    if state.per_epoch is not None:
        state.per_epoch.step(score)


def _rate(state: TrainState) -> str:
    lr, epochs = state.optimiser.param_groups[0]["lr"], state.settings.epochs
    words = {
        "constant": f"the learning rate is {lr:.3g}",
        "cosine": f"the learning rate falls over all {epochs} epochs and is {lr:.3g} here",
        "step": f"the learning rate falls at each third of {epochs} epochs and is {lr:.3g} here",
    }
    return words.get(state.settings.lr_schedule, f"the learning rate goes on at {lr:.3g}")


def _beta(state: TrainState) -> str:
    beta = float(state.present_beta())
    if state.controller is not None:
        return f"β goes on from {beta:.3g}"
    if state.schedule.length is None:
        return f"β stays {beta:.3g}"
    return f"β is {beta:.3g} here, {state.schedule} counts from the first step"
