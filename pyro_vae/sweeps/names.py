"""Names of scores in a spec, held against those that its cells will have, before any is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from pyro_vae.data import as_images, looked_at
from pyro_vae.errors import InputError, unknown
from pyro_vae.metrics import PARTS, evaluate
from pyro_vae.metrics.classifier import Classifier
from pyro_vae.metrics.classifier_network import Network
from pyro_vae.metrics.sample_scores import sample_scores
from pyro_vae.noise import fixed_noise, noise
from pyro_vae.sweeps.cells import Cell
from pyro_vae.sweeps.claims import Check, Crossing
from pyro_vae.sweeps.runs import DERIVED, LAST
from pyro_vae.sweeps.scoring import Evaluation
from pyro_vae.sweeps.spec import SCORES, Spec

__all__: list[str] = []

_IMAGES, _SAMPLES = 64, 300


def check_scores(spec: Spec, objective: str | None = None) -> None:
    """Make sure that every score that a spec names will be there.

    The names are those that the evaluation of untrained models has: its cells' observations on a
    few of its data.

    Args:
        spec: The spec.
        objective: The score that a search is after, if it is one.

    Raises:
        InputError: If no cell will have one of the scores; it names the nearest. Also if data are
            not at hand.
    """
    wanted = list(_wanted(spec))
    wanted += [] if objective is None else [("--objective", objective)]
    known = {*DERIVED, *(f"training.{key}" for key in LAST)}
    seen, tried = set(), False
    for cell in spec.trained:
        if tried and all(score in known for _, score in wanted):
            return
        config = cell.config
        mark = (config.data, config.data_root, config.observation)
        if mark not in seen:
            seen.add(mark)
            found = _names(cell, spec.evaluation)
            known |= found
            tried = tried or bool(found)
    for where, score in wanted:
        if tried and score not in known:
            raise _missing(where, score, known, spec.evaluation)


def _missing(where: str, score: str, known: set[str], evaluation: Evaluation) -> InputError:
    part = score.partition(".")[0]
    asked = {*evaluation.parts, *(["iwae"] if evaluation.iwae else [])}
    asked |= {"samples"} if evaluation.samples else set()
    if part in {*PARTS, "iwae", "samples"} - asked:
        return InputError(f"{score!r} in {where} is not scored: [evaluation] does not ask for it")
    return unknown(f"score in {where}", score, known)


def _wanted(spec: Spec) -> Iterator[tuple[str, str]]:
    """All scores of a spec, with where it names them."""
    if spec.scores != SCORES:  # that nobody asked for
        yield from (("scores", score) for score in spec.scores)
    for claim in spec.claims:
        for check in claim.checks:
            yield from ((f"claim {claim.statement!r}", score) for score in _of(check))


def _of(check: Check) -> Iterator[str]:
    yield check.score.at if isinstance(check.score, Crossing) else check.score
    if check.than_score is not None:
        yield check.than_score


def _names(cell: Cell, evaluation: Evaluation) -> set[str]:
    """Names of a cell's scores; none where they cannot be told, which its run will say."""
    cell.config.load()
    try:
        with fixed_noise(noise("names of scores"), torch.device("cpu")):
            vae, data = cell.config.sketch()
            shape = vae.data_shape
            train = looked_at(data.train)[:_IMAGES].to("cpu")
            vae.estimate(train)
            test = as_images(data.test[:_IMAGES], shape)
            iwae = None if evaluation.iwae is None else 1
            scores = evaluate(vae, test, train=train, iwae=iwae, parts=evaluation.parts)
            if evaluation.samples:
                real, kind = as_images(data.test[:_SAMPLES], shape), evaluation.sample_kind
                judge = Classifier(Network(shape, 2), shape, 0.0, 0, "", Path(), fresh=True)
                scores["samples"] = sample_scores(vae, real, judge, len(real), kind)
    except (InputError, RuntimeError, ValueError):
        return set()
    return set(_paths(scores))


def _paths(scores: Mapping[str, object], prefix: str = "") -> Iterator[str]:
    """Names of numbers and of what may be one, with a dot before a nested one."""
    for key, value in scores.items():
        if isinstance(value, Mapping):
            yield from _paths(value, f"{prefix}{key}.")
        elif value is None or isinstance(value, int | float):
            yield prefix + key
