"""What ``fit`` shows on stderr while it runs."""

from __future__ import annotations

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
    from pyro_vae.training import History

__all__ = ["Watcher"]


class Watcher:
    """A line per epoch and a bar with rate and time left, on stderr."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self.bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("steps {task.fields[rate]}"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
        )
        self.name = "elbo"
        self.rows = 0

    def __enter__(self) -> Watcher:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.bar.live.is_started:  # else stopping it prints an empty line
            self.bar.stop()
        if kind is KeyboardInterrupt:
            self.console.print(f"interrupted; what there is was saved in {self.out}")

    def start(self, history: History, total_steps: int, epochs: int) -> None:
        """Say what the figures are."""
        self.name = history.objective
        self.task = self.bar.add_task("", total=total_steps, epoch=f"1/{epochs}", rate="")
        self.epochs = epochs
        self.bar.start()
        if history.kind == "loss":
            self.console.print("this observation is a loss on these data and no likelihood")
        for note in history.notes:
            self.console.print(note)
        for label, value in history.baselines.items():
            self.console.print(f"{label}: {value:.1f} nats per image")
        self.console.print("nats per image, β = 1; higher is better; au: active units")
        self.console.print(
            f"epoch     β | training {self.name:>9} =  recon −   kl au |"
            f" held-out {self.name:>9}   kl au",
            style="bold",
        )

    def step(self, step: int) -> None:
        """Move the bar."""
        self.bar.update(self.task, completed=step)

    def epoch(self, training: dict[str, Any], held_out: dict[str, Any] | None) -> None:
        """Print a line."""
        line = (
            f"{training['epoch']:5d} {training['beta']:5.3g} | {'':8}"
            f" {_figure(training[self.name], 9)} ="
            f" {_figure(training['reconstruction'], 6)} − {_figure(training['kl'], 4)}"
            f" {training['active_units']:2d} |"
        )
        if held_out is not None:
            line += (
                f" {'':8} {_figure(held_out[self.name], 9)} {_figure(held_out['kl'], 4)}"
                f" {held_out['active_units']:2d}"
            )
        self.console.print(line)
        rate = f"{training['images_per_second']:,.0f} images/s"
        epoch = f"{min(training['epoch'] + 1, self.epochs)}/{self.epochs}"
        self.bar.update(self.task, epoch=epoch, rate=rate)

    def warn(self, message: str) -> None:
        """Print a warning."""
        self.console.print(f"warning: {message}", style="yellow")


def _figure(value: float, width: int) -> str:
    """A figure in so many columns where it can be: with fewer digits if it is large."""
    for text in (f"{value:.1f}", f"{value:.0f}", f"{value:.0e}"):
        if len(text) <= width:
            return text.rjust(width)
    return text
