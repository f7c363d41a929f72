"""History: every step's and every epoch's record, under the same names everywhere."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypedDict

__all__ = ["History"]


class SiteScores(TypedDict, total=False):
    """A latent site's ``kl``, ``units`` and ``active_units``, an observed one's ``reconstruction``
    and, where it was found, what the best constant prediction gets, ``collapsed``.
    """

    kl: float
    units: int
    active_units: int
    reconstruction: float
    collapsed: float


class ElboScores(TypedDict):
    """Nats per image, averaged over images.

    One of ``elbo`` and ``objective`` is None, the latter but for a loss; ``kl_per_latent`` is where
    the KL does not split; of ``units`` of them each latent site has its own, in the order of
    ``sites``.
    """

    elbo: float | None
    objective: float | None
    reconstruction: float
    kl: float
    kl_per_latent: list[float] | None
    active_units: int
    sites: dict[str, SiteScores]


class Figures(ElboScores):
    """Of a step or an epoch, per image and in nats; what :class:`History` says of each."""

    loss: float
    beta: float
    gradient_norm: float | None
    learning_rate: float


class Record(Figures):
    """A line of ``metrics.jsonl``: figures, and what they are of."""

    record: Literal["step", "epoch"]
    split: Literal["training", "held-out"]
    epoch: int
    step: int
    images_per_second: float


class HeldOut(Record):
    """A record of held-out images, and which part of the data they are."""

    part: str


ObjectiveKey = Literal["elbo", "objective"]
"""What reconstruction − kl is called."""


def objective_key(kind: str) -> ObjectiveKey:
    """What it is called where the observation is of a kind: ``objective`` for a loss."""
    return "objective" if kind == "loss" else "elbo"


def value_of(record: Record, key: ObjectiveKey) -> float:
    """Reconstruction − kl of a record, by the name that it has there."""
    value = record[key]
    assert value is not None  # one of the two is there
    return value


@dataclass(repr=False)
class History:
    """What training recorded; figures are per image and in nats.

    Each record has ``record`` ("step" or "epoch"), ``split`` ("training" or "held-out"), ``step``,
    ``epoch``, ``loss`` (what was minimised), ``beta``, ``elbo`` (at β = 1; null where the
    observation is only a loss, ``objective`` stands in its place then), ``reconstruction``, ``kl``,
    ``kl_per_latent``, ``active_units``, ``gradient_norm`` (before clipping; null for held-out
    images), ``learning_rate`` and ``images_per_second`` (an accelerator's steps are queued: there
    only an epoch's rate is the machine's). Held-out ones have ``part``, which images they are of.

    A training epoch's figures are averages over its steps, each at the weights it had; β and
    learning rate are the last step's.

    Attributes:
        records: All of them, in order.
        kind: What the observation is on the training data.
        baselines: Reconstruction of the best constant prediction and the like, in nats per image.
        warnings: What training warned of.
        notes: What is worth knowing before the first step.
        part: Which images held-out records are of: ``"validation"``, by which choices are made,
            or ``"test"``; ``"held-out"`` where a former version did not say.
    """

    records: list[Record] = field(default_factory=list)
    kind: str = "density"
    baselines: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    part: str = "held-out"

    @property
    def steps(self) -> list[Record]:
        """The steps' records."""
        return [r for r in self.records if r["record"] == "step"]

    def epochs(self, split: str = "training") -> list[Record]:
        """The epochs' records of a split, ``"training"`` or ``"held-out"``."""
        return [r for r in self.records if r["record"] == "epoch" and r["split"] == split]

    @property
    def objective(self) -> ObjectiveKey:
        """Under which name reconstruction − kl stands; ``elbo`` or ``objective``."""
        return objective_key(self.kind)

    def judged(self) -> list[Record]:
        """What a run is judged by: held-out epochs where there are any, at its final β."""
        records = self.epochs("held-out") or self.epochs()
        return [record for record in records if record["beta"] == records[-1]["beta"]]

    def ended(self, best: bool) -> Record | None:
        """The record of the weights that training ended with; None before its first epoch.

        Args:
            best: Whether those were kept that were best on held-out images.
        """
        records = self.judged()
        finite = [each for each in records if math.isfinite(value_of(each, self.objective))]
        if best and finite and finite[0]["split"] == "held-out":
            return max(finite, key=lambda each: value_of(each, self.objective))
        return records[-1] if records else None

    def lines(self, start: int = 0) -> Iterator[str]:
        """The records from ``start`` on as JSON lines."""
        for record in self.records[start:]:
            yield json.dumps(record, allow_nan=True) + "\n"

    def __repr__(self) -> str:
        epochs, key = self.epochs(), self.objective
        said = [f"History of {len(self.steps)} steps, {len(epochs)} epochs"]
        for split, records in (("training", epochs), ("held-out", self.epochs("held-out"))):
            if records:
                figures = (f"{name} {_number(records[-1].get(name))}" for name in (key, "kl"))
                said += [f"  {split}: {', '.join(figures)} in the last epoch"]
        return "\n".join(said)

    def state_dict(self) -> dict[str, object]:
        """Everything but the records, of which it keeps the number."""
        return {
            "records": len(self.records),
            "kind": self.kind,
            "baselines": dict(self.baselines),
            "warnings": list(self.warnings),
            "notes": list(self.notes),
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go back to a state, dropping the records that came after it."""
        del self.records[saved["records"] :]
        self.kind, self.baselines = saved["kind"], dict(saved["baselines"])
        self.warnings, self.notes = list(saved["warnings"]), list(saved["notes"])

    @classmethod
    def read(cls, path: Path, kind: str = "density") -> History:
        """A history from a metrics.jsonl; a last line that was cut short is left out.

        Raises:
            FileNotFoundError: If there is no such file.
        """
        records = []
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError:
                break
        part = next((str(record["part"]) for record in records if "part" in record), cls.part)
        return cls(records, kind, part=part)


def _number(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, int | float) else "–"
