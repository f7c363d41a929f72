"""Comparison: sweeps over runs, their results over seeds, and the claims that they decide."""

from pyro_vae.comparison.comparing import Comparison, compare, forecast_cells
from pyro_vae.comparison.names import check_scores
from pyro_vae.comparison.search import Search, search
from pyro_vae.comparison.spec import Spec, read_spec
from pyro_vae.comparison.statistics import Estimate, estimate

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
