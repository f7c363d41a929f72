"""Comparison: sweeps over runs, their results over seeds, and the claims that they decide."""

from pyro_vae.sweeps.comparing import Comparison, compare, forecast_cells
from pyro_vae.sweeps.names import check_scores
from pyro_vae.sweeps.search import Search, search
from pyro_vae.sweeps.spec import Spec, read_spec
from pyro_vae.sweeps.statistics import Estimate, estimate

__all__ = [
    "Comparison",
    "Estimate",
    "Search",
    "Spec",
    "check_scores",
    "compare",
    "estimate",
    "forecast_cells",
    "read_spec",
    "search",
]
