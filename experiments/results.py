"""Run the experiments of experiments/specs and write the page of their results.

    python -m experiments.results
    python -m experiments.results --only sigma range --setting small fashion --workers 2
    python -m experiments.results --page-only
    python -m experiments.results --tiny

Finished runs are kept in ``--out`` and not repeated, so that specs can be run one by one, and an
interrupted command goes on where it was. The page is made of whatever results are there.

``--tiny`` shows that every spec runs: one seed, at most 4 cells and 50 steps, no verdicts, no page.
Its exit status is 1 if a run ends in an error of the program; runs that are refused, or whose loss
becomes infinite, are among what the specs are about.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyro
import torch

import pyro_vae as pv
from experiments.page import MACHINE, SPECS, write_page
from pyro_vae.sweeps import Comparison, read_spec
from pyro_vae.sweeps.runs import FAILED, read_json, write_json
from pyro_vae.sweeps.sweep import Tally

__all__ = ["main"]

CELLS, STEPS = 4, 50


def run(name: str, setting: str, out: Path, workers: int, specs: Path = SPECS) -> None:
    """Run one setting of a spec, and note the machine and the time."""
    began = time.perf_counter()
    told: list[str] = []

    def tell(tally: Tally, message: str | None) -> None:
        if message is not None:
            told.append(message)
            left = tally.seconds_left or 0.0
            over = tally.found + tally.done + tally.failed
            say(f"  {over}/{tally.total} {message}, {left / 60:.0f} min left")

    folder = out / f"{name}-{setting}"
    say(f"{name}, {setting}")
    pv.compare(specs / f"{name}.toml", folder, setting=setting, workers=workers, progress=tell)
    if told:
        before = (read_json(folder / MACHINE) or {}).get("seconds", 0.0)
        write_json(folder / MACHINE, machine(workers, before + time.perf_counter() - began))


def machine(workers: int, seconds: float) -> dict[str, Any]:
    """What a comparison ran on, and for how long in all."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "workers": workers,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "pyro": pyro.__version__,
        "seconds": seconds,
    }


def _processor() -> str:
    """The processor's name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def tiny(names: Sequence[str], specs: Path = SPECS) -> int:
    """Run a little of every spec.

    Returns:
        The number of runs that ended in an error of the program.
    """
    wrong = 0
    for name in names:
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            spec = read_spec(specs / f"{name}.toml").limit(CELLS, STEPS, 1)
            found = pv.compare(spec, folder)
            faults = _program_errors(found)
        refused = sum(row.fault is not None for row in found.rows) - len(faults)
        record = {
            "spec": name,
            "runs": len(found.rows),
            "refused": refused,
            "errors": faults,
            "seconds": round(time.perf_counter() - began, 1),
        }
        print(json.dumps(record), flush=True)
        wrong += len(faults)
    return wrong


def _program_errors(found: Comparison) -> list[str]:
    """Faults with a traceback: neither refused nor a loss that became infinite."""
    records = [(row, read_json(row.folder / FAILED) or {}) for row in found.rows]
    return [f"{row.cell}: {row.fault}" for row, record in records if "traceback" in record]


def say(line: str) -> None:
    """Progress, on standard error."""
    print(line, file=sys.stderr, flush=True)


def main(words: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; 1 if something could not be run."""
    names = sorted(path.stem for path in SPECS.glob("*.toml"))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--setting", nargs="+", default=["small"], metavar="NAME")
    parser.add_argument("--out", type=Path, default=Path("runs/experiments"), metavar="FOLDER")
    parser.add_argument("--page", type=Path, default=Path("docs/results.md"), metavar="FILE")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--page-only", action="store_true", help="run nothing, write the page")
    parser.add_argument("--tiny", action="store_true", help="see whether the specs run")
    options = parser.parse_args(words)
    torch.set_num_threads(1)
    if options.tiny:
        return int(tiny(options.only) > 0)
    refused = 0
    for setting in [] if options.page_only else options.setting:
        for name in options.only:
            try:
                run(name, setting, options.out, options.workers)
            except pv.InputError as error:
                say(f"  not run: {error}")
                refused += 1
    write_page(options.page, options.out)
    say(f"page: {options.page}")
    return int(refused > 0)


if __name__ == "__main__":
    sys.exit(main())
