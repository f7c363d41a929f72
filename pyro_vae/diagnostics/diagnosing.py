"""The diagnosis: a verdict, the evidence, and the causes with their mends."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import overload

from numpy.typing import ArrayLike

from pyro_vae import warning_signs
from pyro_vae.data import as_images, of_covariates, plain
from pyro_vae.data.batch import Given, Loaded
from pyro_vae.diagnostics.cause import Cause, options_words
from pyro_vae.diagnostics.causes import causes_of
from pyro_vae.diagnostics.evidence import LOOKED_AT, Evidence, evidence_of
from pyro_vae.diagnostics.headlines import Headline, headlines_of
from pyro_vae.diagnostics.history_evidence import betas_of, course_of
from pyro_vae.diagnostics.programs import ProgramDiagnosis, diagnose_programs
from pyro_vae.diagnostics.score_causes import RISING
from pyro_vae.diagnostics.situations import ENOUGH, FLAT, Situation, overfitted_words
from pyro_vae.errors import InputError
from pyro_vae.metrics.baselines import FITTED
from pyro_vae.metrics.calibration import CALIBRATED, calibration_scores
from pyro_vae.metrics.encodings import encoded, evaluating
from pyro_vae.noise import alone
from pyro_vae.training import History
from pyro_vae.types import Fields
from pyro_vae.vae import VAE, checked_vae
from pyro_vae.warning_signs import STEPS, collapsed_words

__all__ = ["Diagnosis", "diagnose"]

_UNCALIBRATED = 0.2  # distance of the integrals from uniform; 0 if calibrated, 1 at worst


@dataclass(frozen=True)
class Diagnosis:
    """What is the matter with a VAE.

    Attributes:
        verdict: ``healthy``, ``collapsed``, ``partly-collapsed``, ``underfitted``, ``overfitted``,
            ``diverging`` or ``unfinished``.
        causes: Why, the likeliest first; each with what speaks for it and what mends it.
        evidence: The numbers.
        remarks: What else to know, of which no cause speaks, in a sentence each.
        headlines: The figures that the verdict rests on, each with a mark.
    """

    verdict: str
    causes: tuple[Cause, ...]
    evidence: Evidence
    remarks: tuple[str, ...] = ()
    headlines: tuple[Headline, ...] = ()

    @property
    def images(self) -> int:
        """How many images were looked at."""
        return self.evidence.images

    @property
    def summary(self) -> str:
        """What the verdict means here, in a few words."""
        e = self.evidence
        each = e.kl_per_latent
        words = {
            "healthy": "nothing speaks against it",
            "underfitted": f"the squared error is {e.error:.2g} of the mean image's",
            "overfitted": overfitted_words(e),
            "diverging": "it gets worse while it trains",
            "unfinished": "training ended too soon",
        }
        if self.remarks and self.verdict == "healthy":
            count = len(self.remarks)
            words["healthy"] = f"with {count} remark{'s' if count > 1 else ''}"
        if e.below and self.verdict in ("underfitted", "unfinished"):
            name, value = e.below[0]
            words[self.verdict] = f"{name} has {value:,.1f} nats per image, this has {e.score:,.1f}"
        of_units = collapsed_words(e.active_units, e.latent_dim, each[0] if each else None)
        if self.verdict == "collapsed" and e.active_units:
            if e.spread < FLAT:
                return f"all inputs give about one picture ({e.spread:.2g} of the data's spread)"
            if self.causes and self.causes[0].code == "decoder-too-strong":
                return "pictures do not depend on z"
        return words.get(self.verdict, of_units)

    def to_dict(self) -> dict[str, object]:
        """Plain data for JSON."""
        causes = [
            {
                key: value
                for key, value in asdict(cause).items()
                if key not in ("changes", "verdict")
            }
            for cause in self.causes
        ]
        return {
            "verdict": self.verdict,
            "summary": self.summary,
            "images": self.images,
            "causes": causes,
            "remarks": list(self.remarks),
            "headlines": [asdict(headline) for headline in self.headlines],
            "evidence": self.evidence.to_dict(),
        }


@overload
def diagnose(
    vae: VAE,
    images: Given,
    history: History | None = None,
    settings: Fields | None = None,
    train: Given | None = None,
    covariates: ArrayLike | None = None,
) -> Diagnosis | ProgramDiagnosis: ...


@overload
def diagnose(
    vae: tuple[Callable[..., object], Callable[..., object]], images: Given
) -> ProgramDiagnosis: ...


@alone
def diagnose(
    vae: VAE | tuple[Callable[..., object], Callable[..., object]],
    images: Given,
    history: History | None = None,
    settings: Fields | None = None,
    train: Given | None = None,
    covariates: ArrayLike | None = None,
) -> Diagnosis | ProgramDiagnosis:
    """Why a VAE gives what it gives, and what mends it.

    It works on any :class:`~pyro_vae.vae.VAE`, one built around a user's own encoder and decoder
    included; without a history it leaves out what only the course of training can tell.

    Args:
        vae: The model; or a pair (model, guide) of any Pyro programs, as for
            ``diagnose_programs``.
        images: Held-out images if there are any, else training images: uint8 levels or floats,
            (N, *data_shape); the first 1,000 are looked at. Where they are fewer than 10 and there
            are training images, it looks at those instead, and says so.
        history: What :func:`~pyro_vae.fit` returned, or what a run folder's metrics hold.
        settings: Options of ``fit`` that it was trained with, as ``{"beta": "4"}``.
        train: Training images where ``images`` are held out, for what the model makes of the ones
            and of the others; the first 1,000 are looked at, and baselines are fitted to the first
            10,000.
            Where the VAE has covariates, a
            :class:`~pyro_vae.data.Batch` with theirs.
        covariates: Of the images, (N, C), where the VAE has any.

    Returns:
        The diagnosis; of a VAE of several things, as of a pair of programs, what its sites tell.

    Raises:
        InputError: If the images are empty, not finite, or of another shape than the model's.

    Example:
        >>> import pyro_vae as pv
        >>> digits = pv.data.load("mnist-5k")
        >>> vae = pv.VAE((1, 28, 28), 5, "normal", pv.networks.MLP(hidden=32))
        >>> history = pv.fit(vae, digits.train[:512], epochs=5, beta=100)
        >>> found = pv.diagnose(vae, digits.test, history, {"beta": "100"})
        >>> found.verdict, found.causes[0].code
        ('collapsed', 'beta-too-large')
    """
    if isinstance(vae, tuple):
        return diagnose_programs(*vae, images)
    checked_vae(vae, "diagnose")
    tensor = of_covariates(as_images(images, vae.data_shape), covariates)[:LOOKED_AT]
    vae.check_given(tensor)
    if vae.joint:
        return _of_sites(vae, tensor, history or History(), settings or {})
    seen = None if train is None else as_images(train, vae.data_shape)[:FITTED]
    if seen is not None:
        vae.check_given(seen)
    few = _few(len(tensor), None if seen is None else len(seen))
    if few and seen is not None:
        tensor, seen = seen[:LOOKED_AT], None
        history = None if history is None else _without_held_out(history)
    evidence = evidence_of(vae, tensor, history, settings or {}, seen)
    situation = Situation(
        evidence,
        settings or {},
        math.prod(vae.data_shape),
        _scale_of(vae),
        vae.obs.interval,
        vae.obs.scaled,
        vae.levels.eight_bit,
        plain(tensor).is_floating_point(),
        vae.obs.location,
        "dropout" in (vae.net or {}),
    )
    found = diagnosis_of(situation)
    hidden = evidence.hidden
    unseen = () if hidden is None else (f"judged without pictures: {hidden}",)
    remarks = _remarks(vae, tensor) if found.verdict == "healthy" else ()
    return replace(found, remarks=few + unseen + remarks)


def diagnosis_of(situation: Situation) -> Diagnosis:
    """What a situation comes to."""
    causes = causes_of(situation)
    verdict = _verdict(situation, causes)
    return Diagnosis(verdict, causes, situation.evidence, (), headlines_of(situation))


def _of_sites(vae: VAE, batch: Loaded, history: History, settings: Fields) -> ProgramDiagnosis:
    """What the sites of a VAE of several things tell, unless it was still getting better."""
    beta, _ = betas_of(history, settings)
    with evaluating(vae):
        programs = partial(vae.model, beta=beta), partial(vae.guide, beta=beta)
        found = diagnose_programs(*programs, batch)
    course = course_of(history, settings)
    steps, rising = course["steps"], course["rising"]
    if steps is None or (steps >= STEPS and (rising is None or rising < RISING)):
        return found
    slow = rising is None or rising < RISING
    brought = "" if slow else f", the last tenth brought {rising:.0%} of all gain"
    epochs = int(settings.get("epochs", len(history.epochs())))
    longer = math.ceil(epochs * max(3, ENOUGH / steps))
    said, changes = f"after {steps} steps{brought}", {"epochs": longer}
    cause = Cause("not-trained-enough", said, options_words(changes), changes)
    return replace(found, verdict="unfinished", causes=(cause, *found.causes))


def _few(images: int, train: int | None) -> tuple[str, ...]:
    """That there are too few images to judge by, and what is judged by instead."""
    said = warning_signs.few_words(images)
    if said is None:
        return ()
    if train is None:
        number = "1 image" if images == 1 else f"{images} images"
        return (f"judged by {number}, too few for more than a guess",)
    return (f"{said}; what is said here is of {train} training images, and not of overfitting",)


def _without_held_out(history: History) -> History:
    records = [record for record in history.records if record["split"] != "held-out"]
    return replace(history, records=records)


def _remarks(vae: VAE, images: Loaded) -> tuple[str, ...]:
    """What a verdict on pictures and latents leaves out: whether p(x|z) is calibrated."""
    if vae.kind_on(images) == "loss":
        return ()
    try:
        with evaluating(vae):
            scores = calibration_scores(vae, encoded(vae, images[:CALIBRATED]))
    except (InputError, NotImplementedError):  # of a head that has no distribution function
        return ()
    distance = scores["pit_distance"]
    if not distance > _UNCALIBRATED:
        return ()
    return (
        "latents and pictures are as they should be, but p(x|z) is far from calibrated: its "
        f"integrals are {distance:.2f} from uniform (0 if calibrated), so take its mean for "
        "pictures, and its samples, intervals and likelihood with care",
    )


def _scale_of(vae: VAE) -> str:
    """How the observation's scale comes about: its scope if learned, "fixed", or "none"."""
    param = vae.obs.of_role("scale")
    # A scale without a location is what moves the data itself.
    if param is None or vae.obs.location is None:
        return "none"
    if param.origin == "learned":
        return str(param.scope)
    return "fixed" if param.origin in ("fixed", "data") else f"residual-{param.scope}"


def _verdict(situation: Situation, causes: tuple[Cause, ...]) -> str:
    """One word: what is the matter."""
    e = situation.evidence
    if not e.finite or (e.error > 1.5 and causes and causes[0].code == "sigma-too-flexible"):
        return "diverging"
    if situation.collapsed:
        return "collapsed"
    if situation.thinned:
        return "partly-collapsed"
    if causes:
        return causes[0].verdict
    return "healthy"
