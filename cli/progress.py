"""What ``fit`` and ``compare`` show on stderr while they run."""

from __future__ import annotations

import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

if TYPE_CHECKING:
    from pyro_vae.history import ObjectiveKey, Record
    from pyro_vae.sweeps.sweep import Tally
    from pyro_vae.training import History

__all__ = ["Sweeping", "Watcher"]


class Watcher:
    """A line per epoch and a bar with rate and time left, on stderr.

    Args:
        out: The run folder.
        lines: What to say first.
        unit: What figures are per.
    """

    def __init__(self, out: Path, lines: Sequence[str] = (), unit: str = "image") -> None:
        self.out, self.lines, self.unit = out, lines, unit
        from pyro_vae.training import distributed

        # Of several processes the first one speaks.
        quiet = distributed.present() > 0
        self.console = Console(stderr=True, highlight=False, soft_wrap=True, quiet=quiet)
        self.bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("steps {task.fields[rate]}"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
        )
        self.name: ObjectiveKey = "elbo"
        self.indent = 0
        self.rows = 0

    def __enter__(self) -> Watcher:
        self.stopped_by: int | None = None
        self.handlers: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self.handlers[number] = signal.signal(number, self._stop)
        return self

    def _stop(self, number: int, frame: Any) -> None:
        """Stop after the present step; at once if it is the second time."""
        if self.stopped_by is not None:
            raise KeyboardInterrupt
        self.stopped_by = number

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self.handlers.items():
            signal.signal(number, handler)
        if self.bar.live.is_started:  # else stopping it prints an empty line
            self.bar.stop()
        if self.stopped_by is not None and kind not in (None, KeyboardInterrupt):
            self.console.print(f"stopped; go on with: pyro-vae fit --resume {self.out}")
        if kind is KeyboardInterrupt:
            self.console.print(f"interrupted; what there is was saved in {self.out}")

    def start(self, history: History, total_steps: int, epochs: int) -> None:
        """Say what the figures are."""
        self.name = history.objective
        part = "validation" if history.part == "validation" else "held-out"
        self.indent = len(part)
        self.task = self.bar.add_task("", total=total_steps, epoch=f"1/{epochs}", rate="")
        self.epochs = epochs
        self.bar.start()
        self._say_first()
        if history.kind == "loss":
            self.console.print("this observation is a loss on these data and no likelihood")
        for note in history.notes:
            self.console.print(note)
        for label, value in history.baselines.items():
            self.console.print(f"{label}: {value:.1f} nats per {self.unit}")
        self.console.print(f"nats per {self.unit}, β = 1; higher is better; au: active units")
        self.console.print(
            f"epoch     β | training {self.name:>9} =  recon −   kl au |"
            f" {part} {self.name:>9}   kl au",
            style="bold",
        )

    def _say_first(self) -> None:
        for line in self.lines:
            self.console.print(line, markup=False)
        self.lines = ()

    def step(self, step: int) -> None:
        """Move the bar; end training if a signal has asked for it."""
        self.bar.update(self.task, completed=step)
        if self.stopped_by is not None:
            from pyro_vae.training import Stopped

            raise Stopped(128 + self.stopped_by)

    def epoch(self, training: Record, held_out: Record | None) -> None:
        """Print a line."""
        from pyro_vae.history import value_of

        line = (
            f"{training['epoch']:5d} {training['beta']:5.3g} | {'':8}"
            f" {_figure(value_of(training, self.name), 9)} ="
            f" {_figure(training['reconstruction'], 6)} − {_figure(training['kl'], 4)}"
            f" {training['active_units']:2d} |"
        )
        if held_out is not None:
            line += f" {'':{self.indent}} {_figure(value_of(held_out, self.name), 9)}"
            line += f" {_figure(held_out['kl'], 4)} {held_out['active_units']:2d}"
        self.console.print(line)
        rate = f"{training['images_per_second']:,.0f} {self.unit}s/s"
        epoch = f"{min(training['epoch'] + 1, self.epochs)}/{self.epochs}"
        self.bar.update(self.task, epoch=epoch, rate=rate)

    def warn(self, message: str) -> None:
        """Print a warning."""
        self._say_first()
        self.console.print(f"warning: {message}", style="yellow")


def _figure(value: float, width: int) -> str:
    """A figure in so many columns where it can be: with fewer digits if it is large."""
    for text in (f"{value:.1f}", f"{value:.0f}", f"{value:.0e}"):
        if len(text) <= width:
            return text.rjust(width)
    return text


class Sweeping:
    """A line for every run that is over, and a bar with runs done, running, failed, time left."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[said]}"),
            console=self.console,
            transient=True,
        )

    def __enter__(self) -> Sweeping:
        self.task = self.bar.add_task("runs", total=None, said="")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.bar.live.is_started:
            self.bar.stop()
        if kind is KeyboardInterrupt:
            self.console.print("interrupted; the same command goes on from here")

    def __call__(self, tally: Tally, message: str | None) -> None:
        """Show how far it is."""
        over = tally.found + tally.done + tally.failed
        if not self.bar.live.is_started:
            self.bar.start()
            if tally.found:
                self.console.print(f"{tally.found} of {tally.total} runs were there already")
        left = "" if tally.seconds_left is None else f", {_duration(tally.seconds_left)} left"
        said = (
            f"{over} of {tally.total} done, {len(tally.running)} running, "
            f"{tally.failed} failed{left}"
        )
        self.bar.update(self.task, total=tally.total, completed=over, said=said)
        if message is not None:
            self.console.print(f"{over:>5}/{tally.total} {message}{left}")


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 3600}:{whole // 60 % 60:02d} h" if whole >= 3600 else f"{whole // 60} min"
