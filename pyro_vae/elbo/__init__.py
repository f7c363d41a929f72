"""The ELBO's terms by site, its scores, and what constant predictions reach."""

from pyro_vae.elbo.baselines import (
    Constant,
    best_constants,
    constant_score,
)
from pyro_vae.elbo.baselines import (
    freeze_residuals as freeze_residuals,
)
from pyro_vae.elbo.baselines import (
    predict_half as predict_half,
)
from pyro_vae.elbo.baselines import (
    start_at as start_at,
)
from pyro_vae.elbo.scores import (
    BLOCK as BLOCK,
)
from pyro_vae.elbo.scores import (
    bits_per_dim,
    held_out_terms,
    local_params,
    scores_of,
)
from pyro_vae.elbo.scores import (
    evaluation_mode as evaluation_mode,
)
from pyro_vae.elbo.terms import ACTIVE, Terms, active_units, terms_of
from pyro_vae.elbo.terms import active_of_moments as active_of_moments

__all__ = [
    "ACTIVE",
    "Constant",
    "Terms",
    "active_units",
    "best_constants",
    "bits_per_dim",
    "constant_score",
    "held_out_terms",
    "local_params",
    "scores_of",
    "terms_of",
]
