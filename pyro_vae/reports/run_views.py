"""Looks: what a report computes from a run's model, on few enough images to be quick."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from pyro_vae import data
from pyro_vae.data import Data, Images, as_images, context
from pyro_vae.data.batch import Loaded
from pyro_vae.diagnostics import diagnose
from pyro_vae.diagnostics.kept import kept_diagnosis
from pyro_vae.errors import InputError
from pyro_vae.metrics import evaluate
from pyro_vae.metrics.calibration import BINS, calibration_scores
from pyro_vae.metrics.encodings import encoded, evaluating
from pyro_vae.metrics.reconstructions import reconstructed
from pyro_vae.metrics.report import EVALUATION
from pyro_vae.metrics.results import Calibration
from pyro_vae.plots.runs import unit
from pyro_vae.posteriors import code_of
from pyro_vae.reports.runs import Found, number, table
from pyro_vae.training import load
from pyro_vae.training.run_data import load_data
from pyro_vae.types import JSON
from pyro_vae.vae import VAE
from pyro_vae.warning_signs import few_words

__all__: list[str] = []

KINDS = ("mean", "sample", "parameter")
SHOWN, SCORED, CALIBRATED = 8, 1000, 100
"""Images that are shown, scored where nobody has, and whose calibration is drawn."""
UNITS, STEPS, REACH = 6, 11, 3.0
T = TypeVar("T")


@dataclass(frozen=True)
class Traversal:
    """What the latents of the largest KL do, each from −3 to 3, the others as one image has them.

    Attributes:
        units: Their numbers, U of them.
        kl: Of each, nats.
        along: Values of z, S of them.
        frames: Pictures on [0, 1], (S, U, *data_shape).
    """

    units: tuple[int, ...]
    kl: tuple[float, ...]
    along: tuple[float, ...]
    frames: Tensor


@dataclass
class Looks:
    """What was seen of a run; None where there was nothing to see.

    Attributes:
        title: The observation's name.
        levels: How data reach it.
        interval: The range of its data.
        split: Which images were looked at.
        inputs: The first of them as pictures on [0, 1], (N, *data_shape).
        names: What these are called, where they have names.
        pictures: Their reconstructions by kind.
        traversal: What latents do.
        calibration: From ``calibration_scores``.
        diagnosis: What is the matter.
    """

    title: str
    levels: str
    interval: tuple[float, float]
    split: str = ""
    inputs: Tensor | None = None
    names: tuple[str, ...] = ()
    pictures: Mapping[str, Tensor] | None = None
    traversal: Traversal | None = None
    calibration: Calibration | None = None
    diagnosis: JSON | None = None


class Shelf:
    """Data sets by what they are found by, each loaded once."""

    def __init__(self) -> None:
        self._known: dict[str, Data | str] = {}

    def get(self, run: Found) -> Data:
        """The data that a run was trained on; a remark says where they have changed since.

        Raises:
            InputError: If they are not at hand.
        """
        if not isinstance(table(run.config.get("data")).get("name"), str):
            raise InputError("its configuration names no data")
        found, described = load_data(None, None, False, dict(run.config), load=self._load)
        if described["changed"] is not None:
            run.remarks.append(described["changed"])
        return found

    def _load(self, *asked: Any) -> Data:
        *words, described = asked
        like = {part: described.get(part) for part in ("columns", "told")}
        key = json.dumps([*words, like], default=str)
        if key not in self._known:
            try:
                self._known[key] = data.load(*asked)
            except InputError as error:
                self._known[key] = str(error)
        known = self._known[key]
        if isinstance(known, str):
            raise InputError(known)
        return known


def look(run: Found, shelf: Shelf) -> Looks | None:
    """Look at a run's model; whatever cannot be seen becomes a remark, or a fault, of the run.

    Args:
        run: The run; scores that it lacks are added to it.
        shelf: Where data are.
    """
    vae = _model(run)
    if vae is None:
        return None
    if vae.joint:
        looks = Looks(f"{len(vae.obs)} columns", "each its own", (0.0, 1.0))
    else:
        looks = Looks(vae.obs.title, vae.obs.levels, vae.obs.interval)
    described = table(run.config.get("data"))
    if not described:
        run.remarks.append("trained on arrays from a script: no pictures, no diagnosis")
        return looks
    try:
        found = shelf.get(run)
        looks.split = "held-out" if len(found.test) else "training"
        source = found.test if len(found.test) else found.train
        images = as_images(source[:SCORED], vae.data_shape)
        train = as_images(found.train[:SCORED], vae.data_shape)
    except Exception as error:
        run.remarks.append(f"no pictures, no diagnosis: {_said(error)}")
        return looks
    held_out = looks.split == "held-out"
    if not run.scores:
        run.scores = _try(run, "scores", lambda: _scored(vae, images, train, described)) or {}
    each = "row" if "parts" in run.scores else "image"
    few = few_words(int(number(run.scores, "images") or 0), each)
    if few is not None:
        run.remarks.append(few)
    with evaluating(vae):
        if not vae.joint and vae.levels.eight_bit:
            looks.inputs = unit(vae, images[:SHOWN])
            if found.names:
                part = "test" if held_out else "train"
                looks.names = tuple(found.name(part, i) for i in range(len(looks.inputs)))
            looks.pictures = _try(run, "reconstructions", lambda: _pictures(vae, images[:SHOWN]))
            looks.traversal = _try(run, "traversal", lambda: _traversal(vae, images, run.scores))
        if not vae.joint:
            looks.calibration = _calibration(run, vae, images[:CALIBRATED])
    looks.diagnosis = kept_diagnosis(vae, run.folder) or _try(
        run,
        "diagnosis",
        lambda: diagnose(
            vae,
            images,
            run.history if run.history.steps else None,
            run.settings,
            found.train if held_out else None,
        ).to_dict(),
    )
    return looks


def _model(run: Found) -> VAE | None:
    if run.failed:
        return None
    try:
        return load(run.folder)
    except InputError as error:
        said = _said(error).replace(f"{run.folder}/", "").replace(str(run.folder), "the folder")
        if not run.faults:
            run.faults.append(said)
    except Exception as error:
        run.faults.append(f"the model cannot be loaded: {_said(error)}")
    return None


def _said(error: Exception) -> str:
    text = " ".join(str(error).split())[:300]
    return text if isinstance(error, InputError) else f"{type(error).__name__}: {text}"


def _try(run: Found, what: str, make: Callable[[], T]) -> T | None:
    """What a function makes, or None and a fault: one damaged run does not spoil the page."""
    try:
        return make()
    except Exception as error:
        run.faults.append(f"no {what}: {_said(error)}")
        return None


def _scored(
    vae: VAE, images: Loaded, train: Images | None, described: Mapping[str, object]
) -> JSON:
    return {"data": described.get("name"), **evaluate(vae, images, train=train, parts=())}


def _pictures(vae: VAE, images: Loaded) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    codes = vae.code(images)
    for kind in KINDS:
        pictures, _ = reconstructed(vae, codes, (kind,), images)
        found |= pictures  # none where the observation has no such picture
    return found


def _traversal(vae: VAE, images: Loaded, scores: Mapping[str, object]) -> Traversal:
    start = code_of(encoded(vae, images[:1])[0].posterior)[0]
    strength = scores.get("kl_per_latent")
    if not isinstance(strength, list) or len(strength) != vae.latent_dim:
        strength = [0.0] * vae.latent_dim
    units = torch.tensor(strength).argsort(descending=True)[:UNITS].tolist()
    along = torch.linspace(-REACH, REACH, STEPS)
    latents = start.repeat(STEPS, len(units), 1)
    for place, which in enumerate(units):
        latents[:, place, which] = along
    likelihood = vae.decode(latents.flatten(0, 1), **context(images[:1]))
    shown = vae.picture(likelihood)
    frames = shown.reshape(STEPS, len(units), *vae.data_shape)
    kl = tuple(float(strength[which]) for which in units)
    return Traversal(tuple(units), kl, tuple(along.tolist()), frames)


def _calibration(run: Found, vae: VAE, images: Loaded) -> Calibration | None:
    """That of its evaluation, or of a few images; None for a loss, which predicts nothing."""
    known = run.scores.get("calibration")
    if known is not None:
        if _is_whole(known):
            return Calibration(known)
        run.faults.append(f"the calibration in {EVALUATION} is damaged, so made anew")
    if vae.kind_on(images) == "loss":
        return None
    return _try(run, "calibration", lambda: calibration_scores(vae, encoded(vae, images)))


def _is_whole(calibration: JSON) -> bool:
    """Whether a calibration that was read from a file can be drawn."""
    try:
        pairs = [calibration["coverage"]]
        if calibration["sigma"]:
            pairs += [calibration["sigma"][key] for key in ("per_image", "per_pixel")]
        near = calibration["neighbours"]
        if near:
            beside = np.array([near["beside"], near["below"]], float)
            whole = beside.shape == (2,) and np.array(near["map"], float).ndim == 2
        else:
            whole = True
        integrals = np.array(calibration["pit"], float)
        whole &= integrals.shape == (BINS,) and bool(np.isfinite(integrals).all())
        whole &= all(len(part) and np.array(part, float).shape[1:] == (2,) for part in pairs)
    except (KeyError, TypeError, ValueError, OverflowError):
        return False
    return whole and None not in (number(calibration, key) for key in ("images", "pit_distance"))
