"""What a cause may look at, and the conditions that several of them share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pyro_vae.diagnostics.evidence import Evidence
from pyro_vae.warning_signs import FALLEN, SILENT, fallen_words

__all__: list[str] = []

# Fixed before the trial of `python -m experiments.diagnosis`, as are those of the causes.
COPIED = 1.05  # error with the latents of other images, over that with its own; healthy 2.5 to 12
COVERED = 1 / 3  # of the variance of all active directions, by as many as there are latents
GOOD = 0.4  # squared error over the mean image's; healthy .15 to .40 where the mean is what counts
ENOUGH = 2000  # steps
DOUBLED = 0.25  # what the second half of the steps gained, of all that is gained over a constant
DOUBLINGS = 6.0  # of its length, after which nobody waits for more
FLAT = 0.05  # spread of reconstructions over inputs, relative to the data's; healthy .6 to .9
WIDER = 1.5  # held-out squared error over training's; healthy 1.0 to 1.95
APART = 0.125  # their difference, of the mean image's squared error; healthy up to .075


@dataclass(frozen=True)
class Situation:
    """What a cause may look at: the evidence, the options of the run, and the observation.

    Attributes:
        evidence: What was measured.
        settings: Options of ``fit``, as far as they are known.
        dims: Number of pixels.
        scale: How the observation's scale comes about: its scope if learned, ``fixed``,
            ``residual-`` and its scope, or ``none``.
        interval: Where black and white lie for the observation.
        scaled: Whether its scale counts in units of that interval.
        pictures: Whether the observation is of pictures, on levels from 0 to 255.
        floats: Whether the data are floats.
        location: Name of the parameter that is the observation's location; None if it has none.
        dropout: Whether the networks have a rate of dropout.
    """

    evidence: Evidence
    settings: Mapping[str, Any]
    dims: int
    scale: str
    interval: tuple[float, float]
    scaled: bool
    pictures: bool
    floats: bool = False
    location: str | None = "loc"
    dropout: bool = True

    @property
    def collapsed(self) -> bool:
        """No active unit, no unit of more than 0.01 nats, or the same picture for every input."""
        e = self.evidence
        silent = e.kl_per_latent is not None and max(e.kl_per_latent) < SILENT
        return e.active_units == 0 or silent or e.spread < FLAT

    @property
    def thinned(self) -> bool:
        """At most half of the latents are active, and the loss asks for it."""
        e = self.evidence
        asked = self.scale == "fixed" or e.beta > 1
        return asked and not self.collapsed and e.active_units <= e.latent_dim / 2

    @property
    def overfitted(self) -> bool:
        """The held-out score has fallen by 15% of its gain, or held-out pictures are far worse.

        Pictures and not scores: a learned σ makes the distance between the scores large where the
        pictures are equally good, and a held-out score that still rises may be far behind.
        """
        e = self.evidence
        fallen = e.fallen is not None and e.fallen > FALLEN
        return fallen or self.memorised or self.unseen

    @property
    def memorised(self) -> bool:
        """Reconstructions of training images are far better than those of held-out ones."""
        e = self.evidence
        if e.training_error is None:
            return False
        return e.error > max(WIDER * e.training_error, e.training_error + APART)

    @property
    def unseen(self) -> bool:
        """Above the best constant prediction on training images, and below it on the others."""
        e = self.evidence
        if e.training_score is None or e.training_constant is None or self.collapsed:
            return False
        return e.training_score > e.training_constant and e.score < e.constant

    @property
    def gaining(self) -> float | None:
        """The second half's gain as a share of all gain over a constant, where it is a large one.

        Of all gain over a constant, and not over the start: what a network begins with may be as
        far away as one likes.
        """
        e = self.evidence
        if e.doubled is None or e.doubled <= 0:
            return None
        above = e.score - e.constant
        share = e.doubled / above if above > e.doubled else 1.0
        return share if share > DOUBLED else None

    @property
    def doublings(self) -> float:
        """How often its length would have to double until it is below nothing.

        Each is taken to gain as much as the last one did; infinite where that gained nothing.
        """
        e = self.evidence
        missing = max((value - e.score for _, value in e.below), default=0.0)
        if missing <= 0:
            return 0.0
        return missing / e.doubled if e.doubled is not None and e.doubled > 0 else math.inf

    @property
    def times(self) -> float:
        """By how much longer to train: until it is below nothing, and a doubling gains little."""
        doublings = self.doublings if self.doublings <= DOUBLINGS else 0.0
        return max(2**doublings, min((self.gaining or 0) / DOUBLED, 10.0), 3.0)

    @property
    def few_latents(self) -> bool:
        """All latents are active, and most of what could be is not among them."""
        e = self.evidence
        return e.active_units == e.latent_dim and e.covered is not None and e.covered < COVERED

    @property
    def sigma_alone(self) -> bool:
        """Whether σ² without β would do the same."""
        at_1, beta = self.evidence.pressure_at_1, self.evidence.beta
        if self.scale != "fixed" or at_1 is None:
            return False
        return at_1 > (1 if self.collapsed else 0.1) and at_1 * beta >= at_1


def overfitted_words(e: Evidence) -> str:
    """What speaks for overfitting, as the rest of a sentence about the held-out score or images."""
    if e.fallen is not None and e.fallen > FALLEN:
        return f"the held-out score {fallen_words(e.fallen)}"
    if e.training_score is not None and e.score < e.constant <= e.training_score:
        return (
            f"training images have {e.training_score:.4g} nats, held-out ones {e.score:.4g}, where "
            f"the best constant prediction has {e.constant:.4g}"
        )
    return (
        f"the squared error of held-out images is {e.error:.2g} of the mean image's, that of "
        f"training images {e.training_error or 0:.2g}"
    )


def below_words(e: Evidence) -> str:
    """Which baselines it is below, by how much."""
    each = [f"the {value:,.1f} of {name}" for name, value in e.below]
    *others, last = each
    listed = f"{', '.join(others)} and {last}" if others else last
    return f"its {e.score:,.1f} nats per image are below {listed}"
