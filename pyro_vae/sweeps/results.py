"""Results: one row per run, and what they come to over seeds."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyro_vae import ours
from pyro_vae.files import write_text
from pyro_vae.sweeps.cells import Cell
from pyro_vae.sweeps.runs import FAILED, RESULT, Run, read_json
from pyro_vae.sweeps.spec import Spec
from pyro_vae.sweeps.statistics import Estimate, estimate

__all__: list[str] = []

Record = dict[str, Any]
TABLES = ("results.csv", "results.jsonl", "summary.csv", "differences.csv", "rate_distortion.csv")


@dataclass(frozen=True)
class Row:
    """What became of a run.

    Attributes:
        cell: Its cell's name.
        seed: Its seed.
        folder: Where it lies.
        fault: Why it failed, or None.
        labels: Where the cell stands on each axis.
        options: The options that the spec sets, and the seed.
        scores: Numbers by name: those of :func:`pyro_vae.evaluate` with a dot before a nested
            name (``reconstructions.mean.dark``), the last training epoch's under ``training``,
            those of samples under ``samples``, ``mse_over_mean_image``, ``seconds``, ``steps``
            and ``failed``, 1 or 0. A failed run has no others.
    """

    cell: str
    seed: int
    folder: Path
    fault: str | None
    labels: dict[str, Any]
    options: dict[str, Any]
    scores: dict[str, float]

    def flat(self) -> Record:
        """One tidy record, options and scores prefixed as both may have the same name."""
        return {
            "cell": self.cell,
            "seed": self.seed,
            "failed": self.fault is not None,
            "fault": self.fault,
            "folder": self.folder.as_posix(),
            **{f"axis.{name}": value for name, value in self.labels.items()},
            **{f"options.{name}": value for name, value in self.options.items()},
            **{f"scores.{name}": value for name, value in self.scores.items()},
        }


def row_of(cell: Cell, run: Run, folder: Path) -> Row:
    """The row of a run that is over.

    Args:
        cell: Its cell.
        run: The run.
        folder: Where its result lies: its own folder, or that of a run of the same config.
    """
    result, failed = read_json(folder / RESULT), read_json(folder / FAILED)
    options = {name: run.config.options[name] for name in (*cell.given, "seed")}
    scores: dict[str, float] = {"failed": 1.0}
    fault = "it left no result" if failed is None else str(failed["fault"])
    if result is not None:
        more = {"seconds": result["seconds"], "steps": result["steps"], "failed": 0.0}
        return Row(
            cell.name, run.seed, folder, None, cell.labels, options, {**result["scores"], **more}
        )
    return Row(cell.name, run.seed, folder, fault, cell.labels, options, scores)


def by_cell(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows by their cell's name."""
    cells: dict[str, list[Row]] = {}
    for row in rows:
        cells.setdefault(row.cell, []).append(row)
    return cells


def _names(rows: Sequence[Row]) -> list[str]:
    """All scores' names in the order in which they come up."""
    return list(dict.fromkeys(name for row in rows for name in row.scores))


def _numbers(found: Estimate) -> Record:
    return {
        "n": found.n,
        "mean": found.mean,
        "standard_error": found.standard_error,
        "low": found.low,
        "high": found.high,
    }


def summary(rows: Sequence[Row]) -> Iterator[Record]:
    """Of every cell and score the mean over seeds, its standard error and 95% interval."""
    names = _names(rows)
    for cell, own in by_cell(rows).items():
        for name in names:
            found = estimate([row.scores[name] for row in own if name in row.scores])
            if found is not None:
                yield {"cell": cell, "score": name, **_numbers(found)}


def differences(rows: Sequence[Row], reference: str) -> Iterator[Record]:
    """Of every cell and score the paired differences to a reference cell: means over seeds."""
    names, cells = _names(rows), by_cell(rows)
    there = {row.seed: row.scores for row in cells[reference]}
    for cell, own in cells.items():
        if cell == reference:
            continue
        for name in names:
            pairs = [
                row.scores[name] - there[row.seed][name]
                for row in own
                if name in row.scores and name in there.get(row.seed, {})
            ]
            found = estimate(pairs)
            if found is not None:
                yield {"cell": cell, "minus": reference, "score": name, **_numbers(found)}


def rate_distortion(rows: Sequence[Row]) -> Iterator[Record]:
    """Of every cell its rate, nats per image, and distortion, squared error per pixel."""
    for cell, own in by_cell(rows).items():
        rate = estimate([row.scores["kl"] for row in own if "kl" in row.scores])
        distortion = estimate([row.scores["mse"] for row in own if "mse" in row.scores])
        if rate is not None and distortion is not None:
            yield {
                "cell": cell,
                "n": rate.n,
                "rate": rate.mean,
                "rate_standard_error": rate.standard_error,
                "distortion": distortion.mean,
                "distortion_standard_error": distortion.standard_error,
            }


def write_tables(rows: Sequence[Row], spec: Spec, out: Path) -> list[Path]:
    """Write all tables.

    Args:
        rows: Of all runs.
        spec: What they are of.
        out: Folder of the comparison.

    Returns:
        ``results.csv`` and ``results.jsonl`` (one record per run), ``summary.csv``,
        ``differences.csv`` and ``rate_distortion.csv``.
    """
    records = [row.flat() for row in rows]
    lines = "".join(json.dumps(record) + "\n" for record in records)
    contents = (
        _csv(records),
        lines,
        _csv(list(summary(rows))),
        _csv(list(differences(rows, spec.reference))),
        _csv(list(rate_distortion(rows))),
    )
    texts = dict(zip(TABLES, contents, strict=True))
    ours.claim(out, ours.COMPARISON, texts)
    for name, text in texts.items():
        write_text(out / name, text)
    return [out / name for name in texts]


def _csv(records: Sequence[Record]) -> str:
    columns = list(dict.fromkeys(key for record in records for key in record))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return stream.getvalue()
