"""Causes of what the scores say: too short, too long, a wrong scale, no better than without."""

from __future__ import annotations

import math
from typing import Any

from pyro_vae.config import FitConfig
from pyro_vae.diagnostics.cause import Cause, options_words
from pyro_vae.diagnostics.collapse_causes import SAFE
from pyro_vae.diagnostics.situations import (
    DOUBLINGS,
    ENOUGH,
    FLAT,
    GOOD,
    Situation,
    below_words,
    overfitted_words,
)
from pyro_vae.types import JSON
from pyro_vae.warning_signs import FALLEN, STEPS

__all__: list[str] = []

# Fixed before the trial of `python -m experiments.diagnosis`.
NOTHING = 0.9  # squared error over the mean image's of a model that has learned nothing
POOR = 0.5  # spread of reconstructions over inputs; healthy .6 to .9
RISING = 0.05  # of all that was gained, within the last tenth of the steps; a straight line has .11
SLOW = 3e-4  # learning rate of an adaptive optimiser
APART = 2.0  # σ over the error, or the error over σ, from which on σ is what costs the nats
FAR = 10.0  # the same, from which on it is wrong whatever the nats are


def not_trained_enough(s: Situation) -> Cause | None:
    e = s.evidence
    # More of what goes wrong mends nothing.
    if e.steps is None or s.overfitted or sigma_too_flexible(s):
        return None
    climbing = e.rising is not None and e.rising >= RISING and not e.spread >= POOR
    # No better than the mean image, although nothing asks for that or there was no time.
    unasked = (e.pressure or 0) < 0.5 and e.prior_spread >= FLAT and not s.few_latents
    poor = e.error > NOTHING and (unasked or e.steps < STEPS)
    # What else explains a score is no matter of time.
    failed = s.collapsed or s.thinned or (s.few_latents and e.error > GOOD)
    gaining = None if failed else s.gaining
    failed = failed or s.doublings > DOUBLINGS or bool(sigma_off(s) or beta_too_small(s))
    below = () if failed else e.below
    if not (climbing or poor or gaining or below):
        return None
    mend, changes = _longer(s, e.steps)
    said = f"it was trained for {e.steps} steps"
    if not e.hidden and (climbing or poor):
        said = f"the squared error is {e.error:.2g} of the mean image's after {e.steps} steps"
    if climbing:
        said += f", and the last tenth of them still brought {e.rising:.0%} of all gain"
    if gaining:
        said += f", the second half of them brought {e.doubled:.3g} nats per image"
    if (gaining or below) and e.gain_per_epoch is not None:
        said += f", the last ones {e.gain_per_epoch:.3g} nats an epoch"
    if below:
        said += f"; {below_words(e)}"
    return Cause("not-trained-enough", said, mend, changes, verdict="unfinished")


def _longer(s: Situation, steps: int) -> tuple[str, JSON]:
    """As many epochs as it may take, at least 2,000 steps, and no smaller a rate than is usual."""
    epochs = int(s.settings.get("epochs", FitConfig.epochs))
    lr = float(s.settings.get("lr", FitConfig.lr))
    per_epoch = s.evidence.steps_per_epoch or max(1, steps // epochs)
    done = math.ceil(steps / per_epoch)
    wanted = max(math.ceil(s.times * done), math.ceil(ENOUGH / per_epoch))
    changes: dict[str, Any] = {"epochs": wanted}
    if lr < SLOW and s.settings.get("optimizer", FitConfig.optimizer) != "sgd":
        changes["lr"] = FitConfig.lr
    mend = options_words(changes)
    if done < epochs and s.settings.get("patience") is not None:
        # It would stop there again.
        changes["patience"] = None
        mend += " without --patience"
    return mend, changes


def sigma_too_flexible(s: Situation) -> Cause | None:
    e = s.evidence
    diverged = s.scale in ("residual-pixel", "residual-image") and e.error > 1
    free = ("image", "pixel", "dimension") if s.unseen else ("image", "pixel")
    if not diverged and not (s.overfitted and s.scale in free):
        return None
    said, changes = overfitted_words(e), {"scale": "dataset"}
    if diverged:
        # Of a batch it is frozen outside training, so that this is a likelihood.
        said = f"the squared error is {e.error:.2g} of the mean image's while the loss falls"
        changes = {"scale": "batch"}
    said += f", with σ per {s.scale.rpartition('-')[2]}"
    mend = options_words(changes)
    return Cause("sigma-too-flexible", said, mend, changes, verdict="overfitted")


def trained_too_long(s: Situation) -> Cause | None:
    if not s.overfitted:
        return None
    e = s.evidence
    said = overfitted_words(e)
    if e.gap is not None:
        said += f"; the held-out score is {e.gap:.0f} nats below the training score"
    # Where the held-out score has not fallen, stopping where it was best would change nothing.
    fallen = e.fallen is not None and e.fallen > FALLEN
    changes = {"patience": 5, "keep_best": True} if fallen else {}
    ways = [options_words(changes) if fallen else "fewer epochs"]
    ways += ["--dropout 0.2"] if s.dropout else []
    mend = f"{', '.join(ways)} or more images"
    return Cause("trained-too-long", said, mend, changes, verdict="overfitted")


def latents_too_few(s: Situation) -> Cause | None:
    e = s.evidence
    if not (s.few_latents and e.error > GOOD):
        return None
    latents = min(e.predicted_more or 0, 10 * e.latent_dim)
    return Cause(
        "latents-too-few",
        f"all {e.latent_dim} units are active, the forecast for more is {e.predicted_more}, of "
        f"whose variance as many directions as there are units hold {e.covered:.0%}; the squared "
        f"error is {e.error:.2g} of the mean image's",
        options_words({"latent_dim": latents}),
        {"latent_dim": latents},
    )


def beta_too_small(s: Situation) -> Cause | None:
    """A KL that β < 1 left large is what takes the score below a baseline."""
    e = s.evidence
    if not e.below or not e.beta < 1 or e.beta < e.beta_wanted:
        return None
    if e.score + (1 - e.beta) * e.kl < e.below[0][1]:
        return None
    # As large a one as is not forecast to collapse.
    most = math.inf if not e.pressure_at_1 else SAFE / e.pressure_at_1
    beta = float(f"{min(1.0, most):.1g}")
    if not e.beta < beta <= most:  # rounded to where it is, or to what would collapse
        return None
    changes = {"beta": f"{beta:g}"}
    return Cause(
        "beta-too-small",
        f"{below_words(e)}: at β = {e.beta:.3g} the KL was let grow to {e.kl:.4g} nats",
        options_words(changes),
        changes,
    )


def sigma_off(s: Situation) -> Cause | None:
    """A σ that is fixed far from the error, which costs what a learned one would gain."""
    e = s.evidence
    if s.scale != "fixed" or e.sigma is None or not e.rmse > 0 or s.collapsed or s.thinned:
        return None
    times = max(e.sigma / e.rmse, e.rmse / e.sigma)
    explained = s.overfitted or (s.few_latents and e.error > GOOD)
    if not (times > FAR or (e.below and times > APART and not explained)):
        return None
    said = f"σ is fixed at {e.sigma:.3g} where the error is {e.rmse:.3g}, in units of the range"
    if e.below:
        said += f"; {below_words(e)}"
    changes = {"scale": "dataset"}
    return Cause("sigma-off", said, options_words(changes), changes)


def no_better(s: Situation) -> Cause | None:
    """Below what needs no network, for no reason that is known."""
    e = s.evidence
    if not e.below or s.collapsed or s.thinned:
        return None
    lr = float(s.settings.get("lr", FitConfig.lr))
    still = "" if e.steps is None else f", and {e.steps} steps gain too little to get there"
    changes: dict[str, Any] = {"lr": float(f"{lr / 3:.1g}")}
    if s.settings.get("init_from_data") is False:
        changes["init_from_data"] = True
    return Cause(
        "no-better-than-a-baseline",
        f"{below_words(e)}{still}",
        f"{options_words(changes)}, or another --obs or --net",
        changes,
    )
