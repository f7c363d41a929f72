"""Causes, in the order that tells them apart, each with the evidence for it and its mend.

Adding one is adding one entry to :data:`TABLE`: the first that holds is the likeliest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pyro_vae.diagnosis.diagnose.evidence import Evidence
from pyro_vae.measures.signs import (
    DEAD,
    FALLEN,
    IGNORED_MEND,
    KL_PEAK,
    SILENT,
    exploded_words,
    fallen_words,
    lower_rate,
)

__all__ = ["TABLE", "VERDICTS", "Cause", "Situation", "causes_of", "verdict_of"]

# Fixed before the trial of `python -m experiments.diagnosis`, as are those that training shares.
FINISHED = 0.9  # of the β that was wanted
FLAT = 0.05  # spread of reconstructions over inputs, relative to the data's; healthy .75 to .86
COPIED = 1.05  # error with the latents of other images, over that with its own; healthy 3.9 to 9
GOOD = 0.4  # squared error over the mean image's; healthy .19 to .30
RISING = 0.05  # of all that was gained, within the last tenth of the steps


@dataclass(frozen=True)
class Situation:
    """What a cause may look at: the evidence, the options of the run, and the observation."""

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
        """The held-out score has fallen by 15% of what it had gained, or is far from training."""
        e = self.evidence
        return e.fallen is not None and e.fallen > FALLEN

    @property
    def sigma_alone(self) -> bool:
        """Whether σ² without β would do the same."""
        at_1, beta = self.evidence.pressure_at_1, self.evidence.beta
        if self.scale != "fixed" or at_1 is None:
            return False
        return at_1 > (1 if self.collapsed else 0.1) and at_1 * beta >= at_1


@dataclass(frozen=True)
class Cause:
    """One cause that holds.

    Attributes:
        code: Its name.
        sentence: What speaks for it, with numbers.
        mend: What to change, as options of ``pyro-vae fit`` or, where no option does it, words.
        changes: The same as options by name, empty where there are none.
    """

    code: str
    sentence: str
    mend: str
    changes: Mapping[str, Any] = field(default_factory=dict)


def _data_range(s: Situation) -> Cause | None:
    e = s.evidence
    low, high = s.interval
    wide = high - low >= 10 and not s.scaled
    outside = s.pictures and (e.shown_low < -0.2 or e.shown_high > 1.2)
    if not (wide or outside) or (e.error < GOOD and not s.collapsed and not outside):
        return None
    mend, changes = _range_mend(s)
    return Cause(
        "data-range",
        f"the data lie from {round(e.low, 3):g} to {round(e.high, 3):g} where the observation "
        f"works from {low:g} to {high:g}, its mean reaches from {e.shown_low:.3g} to "
        f"{e.shown_high:.3g} of that",
        mend,
        changes,
    )


def _range_mend(s: Situation) -> tuple[str, dict[str, Any]]:
    """The range that the data have, a scale that goes with it, or a mean that stays inside."""
    low, high = s.interval
    e = s.evidence
    slack = 0.01 * (high - low)
    if e.low < low - slack or e.high > high + slack:
        low, high = math.floor(e.low), math.ceil(e.high)
        changes = {"interval": (float(low), float(high)), "scaled": True, "link": "sigmoid"}
        return f"--range {low},{high} --scale-with-range (or uint8 images)", changes
    if high - low >= 10 and not s.scaled:
        return "--range 0,1 (or --scale-with-range)", {"interval": (0.0, 1.0)}
    return "--param loc=pixel,link=sigmoid", {"link": "sigmoid"}


def _learning_rate(s: Situation) -> Cause | None:
    e = s.evidence
    dead = e.dead_units is not None and e.dead_units >= DEAD
    exploded = e.kl_peak is not None and not e.kl_peak < KL_PEAK
    if e.finite and not (exploded and (dead or s.collapsed)):
        return None
    lr = lower_rate(float(s.settings.get("lr", 1e-2)))
    said = exploded_words(e.kl_peak, e.dead_units, e.finite)
    return Cause("learning-rate-too-high", said, f"--lr {lr:g}", {"lr": lr})


def _warm_up(s: Situation) -> Cause | None:
    e = s.evidence
    if not e.beta < FINISHED * e.beta_wanted:
        return None
    factor = math.ceil(1.5 * e.beta_wanted / max(e.beta, 0.01 * e.beta_wanted))
    epochs = int(s.settings.get("epochs", 60)) * factor
    return Cause(
        "warm-up-unfinished",
        f"β has come to {e.beta:.3g} of the {e.beta_wanted:.3g} that its schedule ends at",
        f"--epochs {epochs}, or a shorter schedule for --beta",
        {"beta": f"{e.beta_wanted:g}"},
    )


def _decoder_too_strong(s: Situation) -> Cause | None:
    e = s.evidence
    if not (e.error < GOOD and e.shuffled is not None and e.shuffled < COPIED):
        return None
    return Cause(
        "decoder-too-strong",
        f"reconstructions are good ({e.error:.2g} of the mean image's squared error) and do not "
        f"depend on z ({e.shuffled:.2f} times the error with other images' z)",
        "a decoder that sees z alone, not the image it is to make",
    )


def _mean_reduction(s: Situation) -> Cause | None:
    if not ((s.collapsed or s.thinned) and s.evidence.beta > 1):
        return None
    beta, d = s.evidence.beta, s.dims
    batch, latents = int(s.settings.get("batch_size", 128)), s.evidence.latent_dim
    candidates = {
        "the number of pixels": d,
        "batch × pixels": d * batch,
        "pixels / latents": d / latents,
        "batch × pixels / latents": d * batch / latents,
    }
    for words, value in candidates.items():
        if abs(beta / value - 1) < 0.01:
            return Cause(
                "mean-reduction",
                f"β = {beta:g} is {words}: the reconstruction is averaged where the KL is summed",
                "--beta 1",
                {"beta": "1"},
            )
    return None


def _sigma(s: Situation) -> Cause | None:
    e = s.evidence
    if not ((s.collapsed or s.thinned) and s.sigma_alone) or e.pressure_at_1 is None:
        return None
    return Cause(
        "sigma-too-large",
        f"σ² alone is {e.pressure_at_1:.2g} times the data's largest eigenvalue, and the forecast "
        f"for this βσ² is {e.predicted} active units",
        "--obs normal-learned-sigma (or a smaller --sigma)",
        {"scale": "dataset"},
    )


def _beta(s: Situation) -> Cause | None:
    e = s.evidence
    if not (s.collapsed or s.thinned) or e.beta <= 1 or e.pressure is None or e.predicted is None:
        return None
    if not (e.pressure > 1 or e.predicted <= e.latent_dim / 2):
        return None
    return Cause(
        "beta-too-large",
        f"βσ² is {e.pressure:.2g} times the data's largest eigenvalue at β = {e.beta:g}: the "
        f"forecast is {e.predicted} active units",
        "--beta 1",
        {"beta": "1"},
    )


def _not_trained(s: Situation) -> Cause | None:
    e = s.evidence
    climbing = e.rising is not None and e.rising >= RISING
    # Worse than the mean image although nothing asks for that.
    poor = e.error > 0.9 and (e.pressure or 0) < 0.5 and e.prior_spread >= FLAT
    if e.steps is None or not (climbing or poor):
        return None
    epochs = 5 * int(s.settings.get("epochs", 60))
    said = f"the squared error is {e.error:.2g} of the mean image's after {e.steps} steps"
    if climbing:
        said = f"the last tenth of {e.steps} steps still brought {e.rising:.0%} of all gain"
    return Cause(
        "not-trained-enough",
        said,
        f"--epochs {epochs}",
        {"epochs": epochs},
    )


def _encoder_ignored(s: Situation) -> Cause | None:
    e = s.evidence
    ignored = e.shuffled is not None and e.shuffled < COPIED and e.prior_spread < FLAT
    if not (s.collapsed and ignored):
        return None
    return Cause(
        "encoder-ignored",
        f"nothing asks for collapse (βσ²/λ₁ = {e.pressure or math.nan:.2g}), yet every z gives the "
        f"same picture (spread {e.prior_spread:.3f} of the data's)",
        IGNORED_MEND,
        {"beta": "linear:0,1,epochs=10"},
    )


def _latents(s: Situation) -> Cause | None:
    e = s.evidence
    more = e.predicted_more is not None and e.predicted_more >= 3 * e.latent_dim
    if not (more and e.active_units == e.latent_dim and e.error > GOOD):
        return None
    latents = min(64, 10 * e.latent_dim)
    return Cause(
        "latents-too-few",
        f"all {e.latent_dim} units are active, the forecast for {4 * e.latent_dim} is "
        f"{e.predicted_more}, and the squared error is still {e.error:.2g} of the mean image's",
        f"--latent-dim {latents}",
        {"latent_dim": latents},
    )


def _flexible(s: Situation) -> Cause | None:
    e = s.evidence
    diverged = s.scale in ("residual-pixel", "residual-image") and e.error > 1
    if not diverged and not (s.overfitted and s.scale in ("image", "pixel")):
        return None
    said = (
        f"the squared error is {e.error:.2g} of the mean image's while the loss falls"
        if diverged
        else f"the held-out score {fallen_words(e.fallen or 0)}"
    )
    return Cause(
        "sigma-too-flexible",
        f"{said}, with σ per {s.scale.rpartition('-')[2]}",
        "--obs normal-learned-sigma --sigma-per dataset",
        {"obs": "normal-learned-sigma", "scale": "dataset"},
    )


def _too_long(s: Situation) -> Cause | None:
    if not s.overfitted:
        return None
    return Cause(
        "trained-too-long",
        f"the held-out score {fallen_words(s.evidence.fallen or 0)}, "
        f"{s.evidence.gap:.0f} nats below the training score",
        "--patience 5 --keep-best, --dropout 0.2, or more images",
        {"patience": 5, "keep_best": True},
    )


TABLE: tuple[Callable[[Situation], Cause | None], ...] = (
    _data_range,
    _learning_rate,
    _warm_up,
    _decoder_too_strong,
    _mean_reduction,
    _sigma,
    _beta,
    _flexible,
    _not_trained,
    _encoder_ignored,
    _latents,
    _too_long,
)

VERDICTS = {
    "learning-rate-too-high": "diverging",
    "warm-up-unfinished": "unfinished",
    "not-trained-enough": "unfinished",
    "latents-too-few": "underfitted",
    "sigma-too-flexible": "overfitted",
    "trained-too-long": "overfitted",
    "decoder-too-strong": "collapsed",
    "data-range": "underfitted",
}
"""What a first cause makes of a run that is neither collapsed nor thinned out."""


def causes_of(situation: Situation) -> tuple[Cause, ...]:
    """Those that hold, the likeliest first."""
    found = (cause(situation) for cause in TABLE)
    return tuple(cause for cause in found if cause is not None)


def verdict_of(situation: Situation, causes: tuple[Cause, ...]) -> str:
    """One word: what is the matter."""
    e = situation.evidence
    if not e.finite or (e.error > 1.5 and causes and causes[0].code == "sigma-too-flexible"):
        return "diverging"
    if situation.collapsed:
        return "collapsed"
    if situation.thinned:
        return "partly-collapsed"
    if causes:
        return VERDICTS.get(causes[0].code, "underfitted")
    return "healthy"
