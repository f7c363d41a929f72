"""The page of results: what each spec's finished runs say of its claims."""

from __future__ import annotations

import io
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pyro_vae.sweeps import Spec, estimate, read_spec
from pyro_vae.sweeps.results import Row, by_cell, row_of
from pyro_vae.sweeps.runs import FAILED, RESULT, Run, find_results, plan, read_json
from pyro_vae.sweeps.verdicts import Judged, Verdict, judge

__all__ = ["MACHINE", "SPECS", "Experiment", "write_page"]

SPECS = Path(__file__).parent / "specs"
NOTES = Path(__file__).parent / "notes.toml"
_THRESHOLD = re.compile(r"[<>=~] [-+.0-9e]+$")
"""Why a verdict is not the expected one, where someone has found out: spec → statement → text."""
MACHINE = "machine.json"
_COLOURS, _WIDEST = 48, 1000

_HEAD = """# What the experiments say

Each question below is a file in [`experiments/specs`](../experiments/specs), with the options that
are varied and the claims that they test. This page is written by

<!-- not run: minutes: `.ci/run` runs every spec with --tiny -->
```sh
python -m experiments.results
```

from the settings that have been run; `--only NAME` runs one spec, `--setting fashion` or
`--setting large` another of its settings. A claim *holds* or *does not hold* if Student's 95%
interval of the mean difference over seeds, paired, says so, and is *undecided* otherwise. What is
expected was known before, from theory or from other measurements; where nothing was, there is a
dash. Figures are means ± standard errors over seeds, in nats per image where they have a unit;
`mse` is per pixel on [0, 1].
"""


@dataclass(frozen=True)
class Experiment:
    """One setting of a spec, and the runs of it that are there.

    Attributes:
        name: The spec's.
        setting: Which of its settings.
        source: The spec's file.
        out: Folder of all comparisons.
    """

    name: str
    setting: str
    source: Path
    out: Path

    @property
    def folder(self) -> Path:
        """Where its runs lie."""
        return self.out / f"{self.name}-{self.setting}"

    @property
    def title(self) -> str:
        """Spec and setting, for headings and links."""
        return self.name if self.setting == "small" else f"{self.name}, {self.setting}"

    @cached_property
    def spec(self) -> Spec:
        """The spec in that setting."""
        return read_spec(self.source, self.setting)

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """What became of each run that is over."""
        there = find_results(self.folder)
        rows = []
        for cell, run in plan(self.spec, self.folder):
            place = there.get(run.config.fingerprint)
            if _is_over(run, place):
                rows.append(row_of(cell, run, place or run.folder))
        return tuple(rows)

    @property
    def runs(self) -> int:
        """How many runs there are to be."""
        return len(self.spec.cells) * len(self.spec.seeds)

    @property
    def complete(self) -> bool:
        """Whether all are over."""
        return len(self.rows) == self.runs

    @cached_property
    def verdicts(self) -> tuple[Verdict, ...]:
        """On each claim."""
        return tuple(judge(claim, self.rows) for claim in self.spec.claims)

    @property
    def machine(self) -> Mapping[str, Any]:
        """What it ran on."""
        return read_json(self.folder / MACHINE) or {}


def _is_over(run: Run, place: Path | None) -> bool:
    if place is not None:
        return (read_json(place / RESULT) or {}).get("evaluation") == run.evaluation.to_dict()
    failed = read_json(run.folder / FAILED) or {}
    return bool(failed.get("fingerprint") == run.config.fingerprint)


def write_page(page: Path, out: Path, specs: Path = SPECS, notes: Path = NOTES) -> None:
    """Write the page and copy its pictures beside it, into ``pictures/results``.

    Args:
        page: Markdown file.
        out: Folder of all comparisons.
        specs: Folder of the specs.
        notes: Reasons for verdicts that are not the expected ones.
    """
    known = tomllib.loads(notes.read_text(encoding="utf-8")) if notes.exists() else {}
    experiments = list(_experiments(out, specs))
    done = [one for one in experiments if one.complete]
    names = sorted(path.stem for path in specs.glob("*.toml"))
    lines = [_HEAD, *_overview(done)]
    lines += _missing(names, [one for one in experiments if not one.complete], done)
    for one in done:
        own = known.get(f"{one.name}-{one.setting}", {})
        lines += _section(one, own, page.parent / "pictures" / "results")
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8", newline="\n")


def _experiments(out: Path, specs: Path) -> Iterator[Experiment]:
    """All settings of all specs for which there is a folder."""
    for path in sorted(specs.glob("*.toml")):
        with path.open("rb") as stream:
            settings = tomllib.load(stream).get("settings", {})
        for setting in settings:
            one = Experiment(path.stem, setting, path, out)
            if one.folder.is_dir() and one.rows:
                yield one


def _overview(done: Sequence[Experiment]) -> list[str]:
    rows = [["experiment", "holds", "does not hold", "undecided", "disagree", "runs", "minutes"]]
    for one in done:
        found = [verdict.verdict for verdict in one.verdicts]
        counts = [str(found.count(kind)) for kind in rows[0][1:4]]
        seconds = _in_all(one)
        minutes = "in parts" if seconds is None else f"{seconds / 60:.1f}"
        apart = str(sum(map(_disagrees, one.verdicts)))
        link = f"[{one.spec.title}](#{_anchor(one)}), {one.setting}"
        rows.append([link, *counts, apart, str(one.runs), minutes])
    return [*_table(rows), ""] if done else ["No experiment has been run.", ""]


def _missing(
    names: Sequence[str], partial: Sequence[Experiment], done: Sequence[Experiment]
) -> list[str]:
    lines = [f"{one.title}: {len(one.rows)} of {one.runs} runs are there." for one in partial]
    there = {one.name for one in (*partial, *done)}
    lines += [f"{name}: not run." for name in names if name not in there]
    return [*(f"- {line}" for line in lines), ""] if lines else []


def _section(one: Experiment, notes: Mapping[str, str], pictures: Path) -> Iterator[str]:
    source = f"../experiments/specs/{one.source.name}"
    yield f'<a id="{_anchor(one)}"></a>\n\n## {one.spec.title} ({one.setting})\n'
    yield f"[`{one.source.name}`]({source}): `python -m experiments.results --only {one.name}" + (
        "`\n" if one.setting == "small" else f" --setting {one.setting}`\n"
    )
    yield from _claims(one.verdicts)
    for verdict in filter(_disagrees, one.verdicts):
        yield _disagreement(verdict)
        yield notes.get(verdict.statement, "") + "\n"
    yield from _summary(one)
    for name in _copy_pictures(one, pictures):
        yield f"![{one.spec.title}: {name}](pictures/results/{name})\n"
    yield _provenance(one)


def _claims(verdicts: Sequence[Verdict]) -> Iterator[str]:
    rows = [["claim", "expected", "found", "figures"]]
    for verdict in verdicts:
        found = f"**{verdict.verdict}**" + (", disagrees" if _disagrees(verdict) else "")
        figures = "<br>".join(map(_figures, verdict.checks))
        rows.append([verdict.statement, verdict.expected or "–", found, figures])
    yield from _table(rows)
    yield ""


def _disagrees(verdict: Verdict) -> bool:
    return verdict.expected not in (None, verdict.verdict)


def _figures(check: Judged) -> str:
    said = f"`{check.text}`: "
    if check.difference is None:
        return said + str(check.why)
    alone = check.right is None or _THRESHOLD.search(check.text) is not None
    return said + (f"{check.left}" if alone else f"{check.left} against {check.right}")


def _disagreement(verdict: Verdict) -> str:
    telling = [check for check in verdict.checks if check.verdict == verdict.verdict]
    figures = "; ".join(map(str, telling))
    return (
        f"This **disagrees** with what was expected of “{verdict.statement}”: "
        f"*{verdict.expected}* was expected, *{verdict.verdict}* was found, by {figures}.\n"
    )


def _summary(one: Experiment) -> Iterator[str]:
    rows = [["cell", *one.spec.scores, "runs that failed"]]
    for cell, own in by_cell(one.rows).items():
        shown = [f"`{cell}`"]
        for score in one.spec.scores:
            mean = estimate([row.scores[score] for row in own if score in row.scores])
            shown.append("–" if mean is None else str(mean))
        failed = sum(row.fault is not None for row in own)
        rows.append([*shown, f"{failed} of {len(own)}" if failed else "–"])
    yield from _table(rows)
    yield ""
    faults = dict.fromkeys(f"`{r.cell}`: {r.fault}." for r in one.rows if r.fault is not None)
    yield from (f"Failed: {fault}\n" for fault in faults)


def _copy_pictures(one: Experiment, folder: Path) -> Iterator[str]:
    """Copies of the comparison's pictures in few colours, of a size for a repository."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(one.folder.glob("*.png")):
        name = f"{one.name}-{one.setting}-{path.name}"
        with Image.open(path) as full:
            picture = full.convert("RGB")
        picture.thumbnail((_WIDEST, 10 * _WIDEST))
        small = _quantised(picture)
        stream = io.BytesIO()
        small.save(stream, "png", optimize=True)
        (folder / name).write_bytes(stream.getvalue())
        yield name


def _quantised(picture: Image.Image) -> Image.Image:
    """In a palette: one fitted to many greys, or one that keeps the few pixels of a line's hue."""
    ways = ((_COLOURS, Image.Quantize.MEDIANCUT), (256, Image.Quantize.FASTOCTREE))
    found = [picture.quantize(count, way, dither=Image.Dither.NONE) for count, way in ways]
    exact = np.asarray(picture, dtype=np.int16)
    return min(found, key=lambda one: int(np.abs(np.asarray(one.convert("RGB")) - exact).max()))


def _training(one: Experiment) -> float:
    return sum(row.scores.get("seconds", 0.0) for row in one.rows)


def _in_all(one: Experiment) -> float | None:
    """Seconds from start to end; None where a sweep that was stopped went on another time."""
    training = _training(one)
    seconds = float(one.machine.get("seconds", training))
    return seconds if seconds * one.machine.get("workers", 1) >= training else None


def _provenance(one: Experiment) -> str:
    said = f"{one.runs} runs, {_training(one) / 60:.1f} minutes of training"
    where = one.machine
    if where:
        seconds = _in_all(one)
        if seconds is None:
            said += " in several parts"
        else:
            said += f", {seconds / 60:.1f} minutes in all with {where['workers']} at a time"
        said += (
            f", on {where['cores']} cores ({where['processor']}), torch {where['torch']}, "
            f"pyro {where['pyro']}, Python {where['python']}"
        )
    return said + ".\n"


def _anchor(one: Experiment) -> str:
    return f"{one.name}-{one.setting}"


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for number, row in enumerate(rows):
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
        if number == 0:
            yield "|" + "---|" * len(row)
