"""TensorBoard events, where tensorboard is installed: the records under their own names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pyro_vae import ours
from pyro_vae.history import Record

__all__: list[str] = []

FOLDER = "events"
"""Folder of a run that holds them."""


T = TypeVar("T")


class Events:
    """Writes records as TensorBoard events; does nothing where tensorboard is not installed.

    Each kind of record is a curve of its own, named after what it is: ``step-training``,
    ``epoch-training`` and ``epoch-held-out``; a figure's tag is its name in the record, and that of
    a list's element its name and number, as ``kl_per_latent/3``.

    Args:
        folder: The run folder, or None to write nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self.run = folder
        self.writers: dict[str, Any] = {}

    def write(self, records: Iterable[Record]) -> None:
        """Add the figures of records at their steps."""
        if self.run is None:
            return
        try:  # only here: training must neither need it nor wait for its import
            from torch.utils.tensorboard import FileWriter
            from torch.utils.tensorboard.summary import Summary
        except ImportError:
            return
        for record in records:
            curve = f"{record['record']}-{record['split']}"
            if curve not in self.writers:
                self.writers[curve] = _listed(FileWriter, self.run, f"{FOLDER}/{curve}")
            values = [Summary.Value(tag=tag, simple_value=value) for tag, value in figures(record)]
            self.writers[curve].add_summary(Summary(value=values), record["step"])

    def close(self) -> None:
        """Write what is still in memory."""
        for writer in self.writers.values():
            writer.close()


def _listed(make: Callable[[str], T], run: Path, name: str) -> T:
    """A writer into a folder of a run, whose new file is listed as the run's."""
    before = set((run / name).glob("*"))
    writer = make(str(run / name))
    new = sorted(path.name for path in set((run / name).glob("*")) - before)
    ours.record(run, ours.RUN, [f"{name}/{file}" for file in new])
    return writer


def figures(record: Mapping[str, object]) -> Iterator[tuple[str, float]]:
    """Names and values of a record's figures; what it has none for is left out."""
    for name, value in record.items():
        if name in ("record", "split", "step") or value is None:
            continue
        if isinstance(value, list):
            yield from ((f"{name}/{i}", element) for i, element in enumerate(value))
        elif isinstance(value, dict):
            yield from ((f"{name}/{key}", each) for key, each in figures(value))
        elif isinstance(value, int | float):
            yield name, value
