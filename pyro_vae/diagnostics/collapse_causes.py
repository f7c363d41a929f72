"""Causes of what the latents say: ranges, learning rates, β, σ, networks that ignore each other."""

from __future__ import annotations

import math
from typing import Any

from pyro_vae.config import FitConfig
from pyro_vae.diagnostics.cause import Cause, options_words
from pyro_vae.diagnostics.situations import COPIED, FLAT, GOOD, Situation
from pyro_vae.types import JSON
from pyro_vae.warning_signs import (
    DEAD,
    KL_PEAK,
    STEPS,
    WARM,
    exploded_words,
    ignored_mend,
    lower_rate,
)

__all__: list[str] = []

# Fixed before the trial of `python -m experiments.diagnosis`.
FINISHED = 0.9  # of the β that was wanted
DEAF = 1e-3  # spread of samples over z, relative to the data's: no z makes a difference
SAFE = 0.5  # βσ² over the largest eigenvalue, below which some units survive
SURVIVE = 0.1  # the same, at which every direction of a tenth of the largest variance survives


def data_range(s: Situation) -> Cause | None:
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
    changes: dict[str, Any] = {}
    other = ""
    if e.low < low - slack or e.high > high + slack:
        low, high = math.floor(e.low), math.ceil(e.high)
        changes = {"interval": (float(low), float(high)), "scaled": True}
        if s.pictures and low >= 0 and 1 < high <= 255:
            other = " (or uint8 images)"
    elif high - low >= 10 and not s.scaled:
        # Levels go where --range says, floats stay where they are.
        changes = {"scaled": True} if s.floats else {"interval": (0.0, 1.0)}
        return options_words(changes) + ("" if s.floats else " (or --scale-with-range)"), changes
    if s.location is not None:
        changes["link"] = "sigmoid"
    words = options_words(changes, s.location) + other
    return words or "an observation whose mean stays where the data are", changes


def learning_rate_too_high(s: Situation) -> Cause | None:
    e = s.evidence
    dead = e.dead_units is not None and e.dead_units >= DEAD
    exploded = e.kl_peak is not None and not e.kl_peak < KL_PEAK
    if e.finite and not (exploded and (dead or s.collapsed)):
        return None
    lr = lower_rate(float(s.settings.get("lr", 1e-2)))
    said = exploded_words(e.kl_peak, e.dead_units, e.finite)
    mend = options_words({"lr": lr})
    return Cause("learning-rate-too-high", said, mend, {"lr": lr}, verdict="diverging")


def warm_up_unfinished(s: Situation) -> Cause | None:
    e = s.evidence
    if not e.beta < FINISHED * e.beta_wanted:
        return None
    mend, changes = _safe_beta(s, e.beta_wanted)
    return Cause(
        "warm-up-unfinished",
        f"β has come to {e.beta:.3g} of the {e.beta_wanted:.3g} that its schedule ends at",
        f"{mend}, or a schedule that ends before training does",
        changes,
        verdict="unfinished",
    )


def decoder_too_strong(s: Situation) -> Cause | None:
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


def mean_reduction(s: Situation) -> Cause | None:
    if not ((s.collapsed or s.thinned) and s.evidence.beta > 1):
        return None
    beta, d = s.evidence.beta, s.dims
    batch, latents = int(s.settings.get("batch_size", 128)), s.evidence.latent_dim
    averaged = "the reconstruction is averaged where the KL is summed"
    both = f"the reconstruction is averaged over {d} pixels and the KL over {latents} latents"
    candidates = (
        ("the number of pixels", d, averaged),
        ("batch × pixels", d * batch, averaged),
        ("pixels / latents", d / latents, both),
        ("batch × pixels / latents", d * batch / latents, both),
    )
    for words, value, said in candidates:
        if abs(beta / value - 1) < 0.01:
            mend, changes = _safe_beta(s)
            return Cause("mean-reduction", f"β = {beta:g} is {words}: {said}", mend, changes)
    return None


def _safe_beta(s: Situation, wanted: float = 1.0) -> tuple[str, JSON]:
    """A β that is wanted, or a smaller one where the forecast of that is collapse, too."""
    at_1 = s.evidence.pressure_at_1
    safe = at_1 is None or wanted * at_1 < SAFE
    beta = wanted if safe or at_1 is None else float(f"{SURVIVE / at_1:.1g}")
    changes = {"beta": f"{beta:g}"}
    return options_words(changes), changes


def sigma_too_large(s: Situation) -> Cause | None:
    e = s.evidence
    if not ((s.collapsed or s.thinned) and s.sigma_alone) or e.pressure_at_1 is None:
        return None
    # Whatever β adds to σ² it would add to a learned one, too.
    changes = {"scale": "dataset"} | ({"beta": "1"} if e.beta > 1 else {})
    return Cause(
        "sigma-too-large",
        f"σ² alone is {e.pressure_at_1:.2g} times the data's largest eigenvalue, and the forecast "
        f"for this βσ² is {e.predicted} active units",
        f"{options_words(changes)} (or a smaller --sigma)",
        changes,
    )


def beta_too_large(s: Situation) -> Cause | None:
    e = s.evidence
    if not (s.collapsed or s.thinned) or e.beta <= 1 or e.pressure is None or e.predicted is None:
        return None
    if not (e.pressure > 1 or e.predicted <= e.latent_dim / 2):
        return None
    mend, changes = _safe_beta(s)
    return Cause(
        "beta-too-large",
        f"βσ² is {e.pressure:.2g} times the data's largest eigenvalue at β = {e.beta:g}: the "
        f"forecast is {e.predicted} active units",
        mend,
        changes,
    )


def encoder_ignored(s: Situation) -> Cause | None:
    e = s.evidence
    ignored = e.shuffled is not None and e.shuffled < COPIED and e.prior_spread < FLAT
    asked = e.pressure is not None and e.pressure >= 1
    # In its first steps any decoder may have one picture, but not to the last digit.
    early = e.steps is not None and e.steps < STEPS and e.prior_spread >= DEAF
    if not (s.collapsed and ignored) or asked or early:
        return None
    known = "" if e.pressure is None else f" (βσ² is {e.pressure:.2g} times what would)"
    changes: dict[str, Any] = {"beta": f"linear:0,{e.beta_wanted:g},epochs={WARM}"}
    if int(s.settings.get("epochs", FitConfig.epochs)) < 2 * WARM:
        changes["epochs"] = 2 * WARM
    return Cause(
        "encoder-ignored",
        f"nothing asks for collapse{known}, yet every z gives the same picture: the spread of "
        f"samples is {e.prior_spread:.3f} of the data's",
        ignored_mend(options_words(changes)),
        changes,
    )
