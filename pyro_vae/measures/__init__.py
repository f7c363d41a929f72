"""Numbers from distributions and records, that training, evaluation and diagnosis all need."""

from pyro_vae.measures.baselines import (
    Constant,
    best_constants,
    constant_score,
    freeze_residuals,
    predict_half,
    start_at,
)
from pyro_vae.measures.curves import Curves, curves_of
from pyro_vae.measures.forecasts import Forecast, forecast_gaussian, forecast_of
from pyro_vae.measures.scores import (
    BLOCK,
    bits_per_dim,
    evaluation_mode,
    held_out_terms,
    local_params,
    scores_of,
)
from pyro_vae.measures.signs import (
    few_words,
    kl_note,
    scale_note,
)
from pyro_vae.measures.terms import ACTIVE, Terms, active_of_moments, active_units, terms_of

__all__ = [
    "ACTIVE",
    "BLOCK",
    "Constant",
    "Curves",
    "Forecast",
    "Terms",
    "active_of_moments",
    "active_units",
    "best_constants",
    "bits_per_dim",
    "constant_score",
    "curves_of",
    "evaluation_mode",
    "few_words",
    "forecast_gaussian",
    "forecast_of",
    "freeze_residuals",
    "held_out_terms",
    "kl_note",
    "local_params",
    "predict_half",
    "scale_note",
    "scores_of",
    "start_at",
    "terms_of",
]
