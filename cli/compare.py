"""``pyro-vae compare``."""

from __future__ import annotations

import math
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .compared import FORMATS, table_of, text_of
from .options import COUNT, PROCESSES, WRONG, as_json, echo_json
from .pages import explained

if TYPE_CHECKING:
    from pyro_vae.sweeps import Comparison, Search, Spec
    from pyro_vae.sweeps.verdicts import Verdict

__all__ = ["compare"]


@click.command()
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Folder [comparisons/SPEC-SETTING].")
@click.option("--setting", metavar="NAME", help="Which of the SPEC's settings [its first].")
@click.option(
    "--workers",
    type=PROCESSES,
    help="Runs at a time [1; with --ray as many as there is room for].",
)
@click.option("--threads", default=1, type=PROCESSES, show_default=True, help="Of each run.")
@click.option(
    "--ray",
    metavar="auto|HOST:PORT",
    help="Carry runs out as tasks of Ray: of this machine (auto, whatever RAY_ADDRESS says), or of "
    "the cluster at the address, of which this machine is a node and whose nodes all see --out.",
)
@click.option(
    "--search",
    type=COUNT,
    metavar="N",
    help="Try N points of the grid and its ranges, proposed by Optuna, instead of all.",
)
@click.option(
    "--objective",
    metavar="KEY",
    help="Score that --search is after: elbo, bits_per_dim, ...; min:KEY or max:KEY of any other.",
)
@click.option("--dry-run", is_flag=True, help="List the cells with their forecasts, train nothing.")
@click.option("--yes", is_flag=True, help="Go ahead with more than 1,000 cells.")
@click.option("--overwrite", is_flag=True, help="Let runs of other options be overwritten.")
@click.option("--retry", is_flag=True, help="Try runs again that failed before.")
@click.option("--max-cells", type=COUNT, metavar="N", help="Only so many cells; no verdicts then.")
@click.option("--max-steps", type=COUNT, metavar="N", help="Only so many steps; no verdicts then.")
@click.option(
    "--seeds", type=COUNT, metavar="N", help="Only so many of the seeds; no verdicts then."
)
@click.option(
    "--check",
    is_flag=True,
    help="Exit status 3 where a claim's verdict is not `holds`, or what its spec expects, or a run "
    "has failed.",
)
@click.option(
    "--table",
    type=click.Choice(list(FORMATS)),
    help="Print the table alone, to be pasted into a paper or read by a program.",
)
@as_json
def compare(spec: Path, out: Path | None, setting: str | None, **options: Any) -> None:
    """Train every cell of a SPEC at every seed, and tell what comes of its claims.

    SPEC is a TOML file: a [base] of options of `pyro-vae fit`, a [grid] of options and their
    values, seeds = [...] and [[claims]]; experiments/specs has examples. Interrupted, it goes on
    where it was: finished runs are not repeated.

    With --search an axis of [grid] may be a range: sigma = { low = 0.02, high = 1, log = true }.
    """
    from pyro_vae import sweeps

    trials, objective = options["search"], options["objective"]
    _check(trials, objective, options["dry_run"])
    _check_table(options)
    known = sweeps.read_spec(spec, setting, options["yes"], search=trials is not None)
    known = known.limit(options["max_cells"], options["max_steps"], options["seeds"])
    if options["dry_run"]:
        sweeps.check_scores(known)
        _dry_run(known, options["as_json"])
        return
    name = spec.stem if setting is None else f"{spec.stem}-{setting}"
    if out is not None:
        from pyro_vae.training.runs import check_apart

        for data in {cell.config.data for cell in known.trained}:
            check_apart(out, data)
    out = out or Path("comparisons") / name

    from .progress import Sweeping

    searched = None
    with Sweeping(out) as watcher:
        how = {key: options[key] for key in ("workers", "threads", "ray", "overwrite", "retry")}
        if trials is None:
            found = sweeps.compare(known, out, progress=watcher, **how)
        else:
            searched = sweeps.search(known, out, trials, objective, progress=watcher, **how)
            found = searched.comparison
    click.echo(f"results: {out}", err=True)
    if options["as_json"]:
        echo_json(_json(found) | ({} if searched is None else {"search": searched.to_dict()}))
    elif options["table"] is not None:
        click.echo(FORMATS[options["table"]](table_of(found)))
        for line in _failures(found):
            click.echo(line, err=True)
    else:
        best = [] if searched is None else _best(searched)
        for line in (*text_of(table_of(found)), *_failures(found), *best, *_claims(found)):
            click.echo(line)
        click.echo(f"\n{explained('compare')}")
    if options["check"] and _wrong(found):
        raise SystemExit(WRONG)


def _wrong(found: Comparison) -> bool:
    """Whether a run has failed, or a verdict is not what was expected."""
    verdicts = (verdict.verdict != (verdict.expected or "holds") for verdict in found.verdicts)
    return any(verdicts) or any(row.fault is not None for row in found.rows)


def _check(trials: int | None, objective: str | None, dry_run: bool) -> None:
    if (trials is None) != (objective is None):
        raise click.UsageError("--search N and --objective KEY go together: give both or neither")
    if trials is not None and dry_run:
        raise click.UsageError("--dry-run lists cells, which --search finds one after the other")


def _check_table(options: dict[str, Any]) -> None:
    given = [name for name in ("as_json", "dry_run") if options[name]]
    if options["table"] is not None and given:
        other = "--json" if "as_json" in given else "--dry-run"
        raise click.UsageError(f"--table and {other} exclude each other")


def _best(found: Search) -> list[str]:
    trial, aim = found.best, found.objective
    if trial is None or trial.value is None:
        return ["", f"best of {len(found.trials)} trials: none, all failed"]
    unit = f" {aim.unit}" if aim.unit else ""
    seeds = len(found.comparison.spec.seeds)
    mean = f", mean over {_counted(seeds, 'seed')}" if seeds > 1 else ""
    return [
        "",
        f"best of {len(found.trials)} trials: {trial.cell}",
        f"  {aim.score} {trial.value:.6g}{unit}{mean}, {aim.better}; of the validation part",
        *([] if trial.test is None else [f"  {aim.score} {trial.test:.6g}{unit} of the test part"]),
    ]


def _dry_run(spec: Spec, as_json: bool) -> None:
    from pyro_vae.sweeps import forecast_cells

    forecasts = forecast_cells(spec)
    if as_json:
        rows = [
            {"cell": cell.name, "forecast": None if found is None else found.to_dict()}
            for cell, found in forecasts
        ]
        echo_json({"title": spec.title, "seeds": spec.seeds, "cells": rows})
        return
    cells, seeds = len(forecasts), len(spec.seeds)
    counts = f"{_counted(cells, 'cell')} × {_counted(seeds, 'seed')}"
    click.echo(f"{spec.title}: {counts}, {_counted(cells * seeds, 'run')}")
    width = max(len(cell.name) for cell, _ in forecasts)
    for cell, found in forecasts:
        none = "no forecast: of several things, or β or the prior is found during training"
        said = none if found is None else _forecast(found)
        click.echo(f"  {cell.name:<{width}}  {said}")


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _forecast(found: Any) -> str:
    what = "β" if found.sigma is None else "βσ²"
    largest = found.eigenvalues[0] if found.eigenvalues else math.nan
    about = ", approximate" if found.approximate else ""
    return (
        f"{found.active_units} of {found.latent_dim} units active: {what} = "
        f"{found.threshold:.3g} against λ₁ = {largest:.3g}{about}"
    )


def _json(found: Comparison) -> dict[str, Any]:
    from pyro_vae.diagnostics.kept import kept_verdict
    from pyro_vae.sweeps.results import summary

    return {
        "title": found.spec.title,
        "runs": [
            row.flat() | {"verdict": None if row.fault is not None else kept_verdict(row.folder)}
            for row in found.rows
        ],
        "summary": list(summary(found.rows)),
        "claims": [verdict.to_dict() for verdict in found.verdicts],
        "files": [str(path) for path in found.files],
    }


def _failures(found: Comparison) -> list[str]:
    lines = [f"  {r.cell} seed {r.seed}: {r.fault}" for r in found.rows if r.fault is not None]
    return ["", f"failed runs: {len(lines)}; --retry tries them again", *lines] if lines else []


def _claims(found: Comparison) -> list[str]:
    if found.spec.limited and found.spec.claims:
        return ["", "no verdicts on claims: cells, steps or seeds were limited"]
    if not found.verdicts:
        return []
    lines = ["", "claims"]
    for verdict in found.verdicts:
        lines += _verdict(verdict)
    return lines


def _verdict(verdict: Verdict) -> list[str]:
    unlike = verdict.expected not in (None, verdict.verdict)
    note = f" (expected: {verdict.expected})" if unlike else ""
    said = textwrap.wrap(verdict.statement, 78, subsequent_indent=" " * 18)
    lines = [f"  {verdict.verdict + ':':<15} {said[0]}", *said[1:]]
    if note:
        lines.append(" " * 17 + note)
    for check in verdict.checks:
        prefix = f"{check.verdict}: " if len(verdict.checks) > 1 else ""
        indent = " " * 18
        lines += textwrap.wrap(
            f"{prefix}{check}", 96, initial_indent=indent, subsequent_indent=indent + "  "
        )
    return lines
