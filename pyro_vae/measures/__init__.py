"""Numbers from distributions and records, that training, evaluation and diagnosis all need."""

from pyro_vae.measures.baselines import Constant, best_constant, predict_half
from pyro_vae.measures.scores import (
    BLOCK,
    bits_per_dim,
    fixed_noise,
    held_out_terms,
    local_params,
    scores_of,
)
from pyro_vae.measures.signs import overfitting
from pyro_vae.measures.terms import ACTIVE, Terms, active_units, terms_of

__all__ = [
    "ACTIVE",
    "BLOCK",
    "Constant",
    "Terms",
    "active_units",
    "best_constant",
    "bits_per_dim",
    "fixed_noise",
    "held_out_terms",
    "local_params",
    "overfitting",
    "predict_half",
    "scores_of",
    "terms_of",
]
