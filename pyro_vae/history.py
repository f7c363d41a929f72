"""History: every step's and every epoch's record, under the same names everywhere."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["History"]

Record = dict[str, Any]


@dataclass
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
    def objective(self) -> str:
        """Under which name reconstruction − kl stands; ``elbo`` or ``objective``."""
        return "objective" if self.kind == "loss" else "elbo"

    def lines(self, start: int = 0) -> Iterator[str]:
        """The records from ``start`` on as JSON lines."""
        for record in self.records[start:]:
            yield json.dumps(record, allow_nan=True) + "\n"

    def state_dict(self) -> dict[str, Any]:
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
