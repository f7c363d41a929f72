"""The ELBO's terms by site, its scores, and what constant predictions reach."""

from pyro_vae.elbo.baselines import (
    Constant,
    best_constants,
    constant_score,
    freeze_residuals,
    predict_half,
    start_at,
)
from pyro_vae.elbo.scores import (
    BLOCK,
    bits_per_dim,
    evaluation_mode,
    held_out_terms,
    local_params,
    scores_of,
)
from pyro_vae.elbo.terms import ACTIVE, Terms, active_of_moments, active_units, terms_of

__all__ = [
    "ACTIVE",
    "BLOCK",
    "Constant",
    "Terms",
    "active_of_moments",
    "active_units",
    "best_constants",
    "bits_per_dim",
    "constant_score",
    "evaluation_mode",
    "freeze_residuals",
    "held_out_terms",
    "local_params",
    "predict_half",
    "scores_of",
    "start_at",
    "terms_of",
]
