"""Comparisons: from a spec to runs, tables, pictures and verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyro_vae import ours, priors
from pyro_vae.data import looked_at
from pyro_vae.errors import InputError
from pyro_vae.forecasting import Forecast, forecast
from pyro_vae.observations import head_of
from pyro_vae.sweeps.cells import Cell
from pyro_vae.sweeps.names import check_scores
from pyro_vae.sweeps.pictures import draw_comparison
from pyro_vae.sweeps.results import Row, write_tables
from pyro_vae.sweeps.runs import write_json
from pyro_vae.sweeps.spec import Spec, read_spec
from pyro_vae.sweeps.sweep import Progress
from pyro_vae.sweeps.verdicts import Verdict, judge
from pyro_vae.sweeps.work import Work

__all__ = ["Comparison", "compare"]


@dataclass(frozen=True)
class Comparison:
    """A comparison that is over.

    Attributes:
        spec: What was compared.
        rows: What became of each run.
        verdicts: On each claim; none where the spec was limited.
        files: Tables and pictures that were written.
    """

    spec: Spec
    rows: tuple[Row, ...]
    verdicts: tuple[Verdict, ...]
    files: tuple[Path, ...]


def compare(
    spec: str | Path | Mapping[str, object] | Spec,
    out: str | Path,
    *,
    setting: str | None = None,
    workers: int | None = None,
    threads: int = 1,
    ray: str | None = None,
    overwrite: bool = False,
    retry: bool = False,
    progress: Progress | None = None,
) -> Comparison:
    """Train and score every cell of a spec, and compare.

    Each run is an ordinary run folder, ``OUT/CELL/seed-N``, and depends on its options and seed
    alone. Runs that are finished are found again, by a fingerprint of their options, and not
    repeated; those that fail are recorded and do not stop the others. The caller's generators are
    left alone. With more than one worker a script needs its ``if __name__ == "__main__":``, as
    always with processes.

    Args:
        spec: A TOML file, what is in one (see :mod:`pyro_vae.sweeps.spec`), or one that
            :func:`~pyro_vae.sweeps.spec.read_spec` has read.
        out: Folder of the comparison; made if it is not there.
        setting: Which of the spec's settings to take; by default its first.
        workers: Runs at a time, each in a process of its own if more than one; by default one, or
            with Ray as many as there are CPUs and GPUs for.
        threads: Of each run; the weights' last bits may depend on it.
        ray: ``auto`` or the address of a cluster, to carry runs out as tasks of Ray (see
            ``Cluster``).
        overwrite: Whether runs of other options may be overwritten where a cell's name is theirs.
        retry: Whether runs that failed before are tried again.
        progress: Who is told how far it is.

    Returns:
        What came of it; ``results.csv``, ``results.jsonl``, ``summary.csv``, ``differences.csv``,
        ``rate_distortion.csv``, ``claims.json`` and pictures lie in ``out``.

    Raises:
        InputError: If the spec is wrong, data are not at hand, a folder holds another run,
            another process is comparing in ``out``, or Ray is not to be had; nothing is written
            then.

    Example:
        >>> import tempfile
        >>> base = {"images": 64, "epochs": 1, "hidden": 8, "latent-dim": 2}
        >>> spec = {"base": base, "grid": {"obs": ["normal", "bernoulli"]}}
        >>> found = compare(spec, tempfile.mkdtemp())
        >>> [(row.cell, row.scores["images"]) for row in found.rows]
        [('obs=normal', 64), ('obs=bernoulli', 64)]
    """
    known = spec if isinstance(spec, Spec) else read_spec(spec, setting)
    if not known.cells:
        raise InputError("the spec is one for a search: compare takes one with cells")
    count = len(known.cells) * len(known.seeds)
    with Work(out, count, workers, threads, ray, overwrite, retry, progress) as work:
        check_scores(known)
        return conclude(known, work.rows(known), work.folder)


def conclude(spec: Spec, rows: tuple[Row, ...], folder: Path) -> Comparison:
    """Write tables, pictures and verdicts on runs that are over.

    Args:
        spec: What was compared.
        rows: What became of each run.
        folder: Of the comparison.
    """
    files = write_tables(rows, spec, folder)
    files += draw_comparison(rows, spec, folder)
    verdicts = () if spec.limited else tuple(judge(claim, rows) for claim in spec.claims)
    ours.claim(folder, ours.COMPARISON, ["claims.json"])
    files.append(write_json(folder / "claims.json", [one.to_dict() for one in verdicts]))
    return Comparison(spec, rows, verdicts, tuple(files))


def forecast_cells(spec: Spec) -> list[tuple[Cell, Forecast | None]]:
    """How many latents should survive in each cell; None where no forecast is made of it.

    Args:
        spec: The spec.

    Raises:
        InputError: If data are not at hand, or do not suit an observation.
    """
    known: dict[Any, Forecast] = {}
    found: list[tuple[Cell, Forecast | None]] = []
    for cell in spec.cells:
        config, settings = cell.config, cell.config.fit
        latents = config.latent_dim
        standard = priors.is_standard(config.parts()["prior"])
        if not (settings.forecastable and standard and isinstance(latents, int)):
            found.append((cell, None))
            continue
        data, beta = config.load(), settings.schedule().end
        if data.table is not None or config.condition is not None:
            found.append((cell, None))
            continue
        of = (config.data, config.data_root, config.images, config.observation)
        key = (*of, beta, config.latent_dim)
        if key not in known:
            some = looked_at(data.train)
            head = head_of(config.observation, some)
            known[key] = forecast(some[:5000], head, beta, latents)
        found.append((cell, known[key]))
    return found
