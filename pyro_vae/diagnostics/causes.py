"""Causes, in the order that tells them apart, each with the evidence for it and its mend.

Adding one is adding one entry to ``TABLE``: the first that holds is the likeliest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pyro_vae.config import FitConfig
from pyro_vae.diagnostics.situations import FLAT, Situation, overfitted_words
from pyro_vae.types import JSON
from pyro_vae.warning_signs import (
    DEAD,
    FALLEN,
    IGNORED_MEND,
    KL_PEAK,
    STEPS,
    exploded_words,
    lower_rate,
)

__all__ = ["Cause"]

# Fixed before the trial of `python -m experiments.diagnosis`, as are those of situations.py and
# those that training shares.
FINISHED = 0.9  # of the β that was wanted
COPIED = 1.05  # error with the latents of other images, over that with its own; healthy 2.5 to 12
GOOD = 0.4  # squared error over the mean image's; healthy .15 to .40 where the mean is what counts
NOTHING = 0.9  # the same of a model that has learned nothing but about the mean image
POOR = 0.5  # spread of reconstructions over inputs; healthy .6 to .9
RISING = 0.05  # of all that was gained, within the last tenth of the steps; a straight line has .11
DEAF = 1e-3  # spread of samples over z, relative to the data's: no z makes a difference
COVERED = 1 / 3  # of the variance of all active directions, by as many as there are latents
ENOUGH = 2000  # steps
SLOW = 3e-4  # learning rate of an adaptive optimiser


@dataclass(frozen=True)
class Cause:
    """One cause that holds.

    Attributes:
        code: Its name.
        sentence: What speaks for it, with numbers.
        mend: What to change, as options of ``pyro-vae fit`` or, where no option does it, words.
        changes: The same as options by name, empty where there are none.
        verdict: What it makes, as the first, of a run that is neither collapsed nor thinned out.
    """

    code: str
    sentence: str
    mend: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    verdict: str = "underfitted"


def _data_range(s: Situation) -> Cause | None:
    e = s.evidence
    low, high = s.interval
    wide = high - low >= 10 and not s.scaled
    outside = s.pictures and (e.shown_low < -0.2 or e.shown_high > 1.2)
    if e.hidden or not (wide or outside):
        return None
    if e.error < GOOD and not s.collapsed and not outside:
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


def _range_mend(s: Situation) -> tuple[str, JSON]:
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
    return Cause("learning-rate-too-high", said, f"--lr {lr:g}", {"lr": lr}, verdict="diverging")


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
        verdict="unfinished",
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
        verdict="collapsed",
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


def _encoder_ignored(s: Situation) -> Cause | None:
    e = s.evidence
    ignored = e.shuffled is not None and e.shuffled < COPIED and e.prior_spread < FLAT
    asked = e.pressure is not None and e.pressure >= 1
    # In its first steps any decoder may have one picture, but not to the last digit.
    early = e.steps is not None and e.steps < STEPS and e.prior_spread >= DEAF
    if not (s.collapsed and ignored) or asked or early:
        return None
    known = "" if e.pressure is None else f" (βσ² is {e.pressure:.2g} times what would)"
    return Cause(
        "encoder-ignored",
        f"nothing asks for collapse{known}, yet every z gives the same picture: the spread of "
        f"samples is {e.prior_spread:.3f} of the data's",
        IGNORED_MEND,
        {"beta": f"linear:0,{e.beta_wanted:g},epochs=10"},
    )


def _not_trained(s: Situation) -> Cause | None:
    e = s.evidence
    if e.steps is None:
        return None
    climbing = e.rising is not None and e.rising >= RISING and not e.spread >= POOR
    # No better than the mean image, although nothing asks for that or there was no time.
    unasked = (e.pressure or 0) < 0.5 and e.prior_spread >= FLAT and not _few_latents(s)
    poor = e.error > NOTHING and (unasked or e.steps < STEPS)
    if not (climbing or poor):
        return None
    mend, changes = _longer(s, e.steps)
    said = f"the squared error is {e.error:.2g} of the mean image's after {e.steps} steps"
    if e.hidden:
        said = f"it was trained for {e.steps} steps"
    if climbing:
        said += f", and the last tenth of them still brought {e.rising:.0%} of all gain"
    return Cause("not-trained-enough", said, mend, changes, verdict="unfinished")


def _longer(s: Situation, steps: int) -> tuple[str, JSON]:
    """Three times as many epochs, at least 2,000 steps, and no smaller a rate than is usual."""
    epochs = int(s.settings.get("epochs", FitConfig.epochs))
    lr = float(s.settings.get("lr", FitConfig.lr))
    per_epoch = s.evidence.steps_per_epoch or max(1, steps // epochs)
    changes: dict[str, Any] = {"epochs": max(3 * epochs, math.ceil(ENOUGH / per_epoch))}
    mend = f"--epochs {changes['epochs']}"
    if lr < SLOW and s.settings.get("optimizer", FitConfig.optimizer) != "sgd":
        changes["lr"] = FitConfig.lr
        mend += f" --lr {FitConfig.lr:g}"
    return mend, changes


def _flexible(s: Situation) -> Cause | None:
    e = s.evidence
    diverged = s.scale in ("residual-pixel", "residual-image") and e.error > 1
    if not diverged and not (s.overfitted and s.scale in ("image", "pixel")):
        return None
    said, mend = overfitted_words(e), "--sigma-per dataset"
    changes: dict[str, Any] = {"scale": "dataset"}
    if diverged:
        said = f"the squared error is {e.error:.2g} of the mean image's while the loss falls"
        mend = f"--obs normal-learned-sigma {mend}"
        changes["obs"] = "normal-learned-sigma"
    of = s.scale.rpartition("-")[2]
    return Cause(
        "sigma-too-flexible", f"{said}, with σ per {of}", mend, changes, verdict="overfitted"
    )


def _too_long(s: Situation) -> Cause | None:
    if not s.overfitted:
        return None
    e = s.evidence
    said = overfitted_words(e)
    if e.gap is not None:
        said += f"; the held-out score is {e.gap:.0f} nats below the training score"
    if e.fallen is not None and e.fallen > FALLEN:
        mend = "--patience 5 --keep-best, --dropout 0.2, or more images"
        return Cause(
            "trained-too-long", said, mend, {"patience": 5, "keep_best": True}, verdict="overfitted"
        )
    # The held-out score has not fallen: stopping where it was best would change nothing.
    return Cause(
        "trained-too-long",
        said,
        "more images, fewer epochs, or --dropout 0.2",
        verdict="overfitted",
    )


def _few_latents(s: Situation) -> bool:
    """All latents are active, and most of what could be is not among them."""
    e = s.evidence
    return e.active_units == e.latent_dim and e.covered is not None and e.covered < COVERED


def _latents(s: Situation) -> Cause | None:
    e = s.evidence
    if not (_few_latents(s) and e.error > GOOD):
        return None
    latents = min(64, 10 * e.latent_dim)
    return Cause(
        "latents-too-few",
        f"all {e.latent_dim} units are active, the forecast for more is {e.predicted_more}, of "
        f"whose variance as many directions as there are units hold {e.covered:.0%}; the squared "
        f"error is {e.error:.2g} of the mean image's",
        f"--latent-dim {latents}",
        {"latent_dim": latents},
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
    _encoder_ignored,
    _not_trained,
    _too_long,
    _latents,
)


def causes_of(situation: Situation) -> tuple[Cause, ...]:
    """Those that hold, the likeliest first."""
    found = (cause(situation) for cause in TABLE)
    return tuple(cause for cause in found if cause is not None)
