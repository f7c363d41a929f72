"""Causes, in the order that tells them apart, each with the evidence for it and its mend.

Adding one is adding one function to ``TABLE``: the first that holds is the likeliest.
"""

from __future__ import annotations

from collections.abc import Callable

from pyro_vae.diagnostics import collapse_causes as collapse
from pyro_vae.diagnostics import score_causes as score
from pyro_vae.diagnostics.cause import Cause
from pyro_vae.diagnostics.situations import Situation

__all__: list[str] = []

TABLE: tuple[Callable[[Situation], Cause | None], ...] = (
    collapse.data_range,
    collapse.learning_rate_too_high,
    collapse.warm_up_unfinished,
    collapse.decoder_too_strong,
    collapse.mean_reduction,
    collapse.sigma_too_large,
    collapse.beta_too_large,
    score.sigma_too_flexible,
    collapse.encoder_ignored,
    score.sigma_off,
    score.beta_too_small,
    score.not_trained_enough,
    score.trained_too_long,
    score.latents_too_few,
    score.no_better,
)


def causes_of(situation: Situation) -> tuple[Cause, ...]:
    """Those that hold, the likeliest first."""
    found = (cause(situation) for cause in TABLE)
    causes = [cause for cause in found if cause is not None]
    # That it is below a baseline explains nothing where something else does.
    known = [cause for cause in causes if cause.code != "no-better-than-a-baseline"]
    return tuple(known or causes)
