"""What a cause may look at, and the conditions that several of them share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pyro_vae.diagnostics.evidence import Evidence
from pyro_vae.warning_signs import FALLEN, SILENT, fallen_words

__all__: list[str] = []

# Fixed before the trial of `python -m experiments.diagnosis`, as are those of causes.py.
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
        pictures: Whether the data have levels from 0 to 255.
    """

    evidence: Evidence
    settings: Mapping[str, Any]
    dims: int
    scale: str
    interval: tuple[float, float]
    scaled: bool
    pictures: bool

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
        return (e.fallen is not None and e.fallen > FALLEN) or self.memorised

    @property
    def memorised(self) -> bool:
        """Reconstructions of training images are far better than those of held-out ones."""
        e = self.evidence
        if e.training_error is None:
            return False
        return e.error > max(WIDER * e.training_error, e.training_error + APART)

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
    return (
        f"the squared error of held-out images is {e.error:.2g} of the mean image's, that of "
        f"training images {e.training_error or 0:.2g}"
    )
