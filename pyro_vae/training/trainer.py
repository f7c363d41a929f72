"""The course of a run: where it is, what it has recorded, and how it goes through an epoch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pyro
import torch
from torch import Tensor

from pyro_vae import elbo
from pyro_vae.data import Images, batches, order
from pyro_vae.data.batch import Loaded
from pyro_vae.errors import TrainingError
from pyro_vae.history import History, Record
from pyro_vae.noise import fixed_noise, noise
from pyro_vae.training import distributed, faults
from pyro_vae.training.step_metrics import Layout, StepMetrics, layout_of_one_site
from pyro_vae.training.train_state import NotFiniteError, TrainState
from pyro_vae.types import JSON, Fields

__all__: list[str] = []


class Trainer:
    """A run under way.

    Args:
        state: What its steps change.
        history: Where its records go.

    Attributes:
        epoch: The epoch it is in, from 1.
        batches: Batches of that epoch that are done.
        left_out: Why batches were left out because nothing of them was finite.
    """

    def __init__(self, state: TrainState, history: History) -> None:
        self.state, self.history = state, history
        self.epoch, self.batches = 1, 0
        self.left_out: list[str] = []
        # Of the epoch so far: (images, row, seconds) of each step.
        self._rows: list[tuple[int, Tensor, float]] = []
        self._layout: Layout = {}
        self._noise: list[Tensor] | None = None
        self._checked = False

    def run_epoch(self, train: Images, after_step: Callable[[], None]) -> Record:
        """The rest of the present epoch.

        Args:
            train: Levels (uint8) or floats, (N, *data_shape), in memory or on disk.
            after_step: Called after every step; the run may be saved then.

        Returns:
            The epoch's record; the steps' are in the history then.

        Raises:
            TrainingError: If a step's loss or gradient is not finite and the settings say to stop.
        """
        settings, device = self.state.settings, train.device
        self.state.vae.train()
        with fixed_noise(noise("epoch", settings.seed, self.epoch), device):
            parts = self.state.batches(order(train))
            if self._noise is None:
                self._noise = _noise(device)
            else:
                _set_noise(self._noise, device)
            parts = parts[self.batches :]
            shares = [distributed.part(index) for index in parts]
            own = batches(train, shares, settings.workers)
            for index, batch in zip(parts, own, strict=True):
                self._seed()
                if len(index) >= distributed.count():
                    self._step(batch, index)
                self.batches += 1
                self._noise = _noise(device)
                after_step()
        return self._finish_epoch()

    def _seed(self) -> None:
        distributed.seed(self.state.settings.seed, self.epoch, self.batches)

    def _step(self, batch: Loaded, index: Tensor) -> None:
        began, state = time.perf_counter(), self.state
        # The first batch has been through every check: later ones need none (they cost a third).
        checked, self._checked = self._checked, True
        try:
            with pyro.validation_enabled(not checked), elbo.local_params():
                # One check refuses a β of 0, where a schedule may well begin.
                pyro.poutine.enable_validation(False)
                row = state.advance(batch, len(index))
        except (NotFiniteError, ValueError) as error:
            self._leave_out(batch, index, error)
            return
        self._rows.append((len(index), row, time.perf_counter() - began))
        self._layout = state.program.layout

    def _leave_out(self, batch: Loaded, index: Tensor, error: Exception) -> None:
        """Say what is wrong with a batch, and go on without it if the settings say so."""
        with (
            _replayed(self._noise or [], batch.device),
            pyro.validation_enabled(False),
            elbo.local_params(),
        ):
            self._seed()
            own = distributed.part(index)
            found = faults.explain(self.state, batch, own)
        if found is None and isinstance(error, ValueError):
            raise error  # a check of the first batch that is about something else
        explanation = found or faults.unexplained(self.state, own)
        if self.state.settings.on_nan != "skip":
            raise faults.FaultError(explanation) from None
        self.left_out.append(explanation.sentence)

    def _finish_epoch(self) -> Record:
        state, history = self.state, self.history
        if not self._rows:
            raise TrainingError(f"no batch of epoch {self.epoch} gave a finite gradient")
        sizes, rows, seconds = zip(*self._rows, strict=True)
        steps, first = StepMetrics(rows, sizes, self._layout), state.step - len(rows)
        loss = history.objective == "objective"
        records: list[Record] = [
            {
                "record": "step",
                "split": "training",
                "epoch": self.epoch,
                "step": first + i,
                **record,
                "images_per_second": n / took,
            }
            for i, (record, n, took) in enumerate(
                zip(steps.records(loss), sizes, seconds, strict=True), start=1
            )
        ]
        epoch: Record = {
            "record": "epoch",
            "split": "training",
            "epoch": self.epoch,
            "step": state.step,
            **steps.mean(loss),
            "images_per_second": sum(sizes) / sum(seconds),
        }
        history.records += [*records, epoch]
        self._rows, self._noise = [], None
        self.epoch, self.batches = self.epoch + 1, 0
        return epoch

    def state_dict(self) -> JSON:
        """Everything, for a checkpoint; the history's records by their number."""
        return {
            "state": self.state.state_dict(),
            "epoch": self.epoch,
            "batches": self.batches,
            "left_out": self.left_out,
            "sizes": [size for size, _, _ in self._rows],
            "seconds": [seconds for _, _, seconds in self._rows],
            "rows": [row for _, row, _ in self._rows],
            "layout": dict(self._layout),
            "noise": self._noise,
            "history": self.history.state_dict(),
        }

    def load_state_dict(self, saved: Fields) -> None:
        """Go back to where a checkpoint was made."""
        device = self.state.device
        self.state.load_state_dict(saved["state"])
        self.history.load_state_dict(saved["history"])
        self.epoch, self.batches = saved["epoch"], saved["batches"]
        self.left_out, self._noise = list(saved["left_out"]), saved["noise"]
        rows = [row.to(device) for row in saved["rows"]]
        self._rows = list(zip(saved["sizes"], rows, saved["seconds"], strict=True))
        self._layout = dict(saved.get("layout", {}))
        if rows and not self._layout:
            self._layout = layout_of_one_site(self.state.vae.latent_dim, len(rows[0]))


def _noise(device: torch.device) -> list[Tensor]:
    """The generators' states: the processor's and the device's own."""
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    return states


def _set_noise(states: list[Tensor], device: torch.device) -> None:
    torch.set_rng_state(states[0])
    if device.type == "cuda" and len(states) > 1:
        torch.cuda.set_rng_state(states[1], device)


@contextmanager
def _replayed(noise: list[Tensor], device: torch.device) -> Iterator[None]:
    """Random states as they were, for as long as it takes."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        if noise:
            _set_noise(noise, device)
        yield
