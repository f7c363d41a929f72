"""Comparison: sweeps over runs, their results over seeds, and the claims that they decide."""

from pyro_vae.sweeps.comparing import Comparison, compare
from pyro_vae.sweeps.comparing import forecast_cells as forecast_cells
from pyro_vae.sweeps.names import check_scores as check_scores
from pyro_vae.sweeps.search import Search, search
from pyro_vae.sweeps.spec import Spec, read_spec
from pyro_vae.sweeps.statistics import Estimate, estimate

__all__ = [
    "Comparison",
    "Estimate",
    "Search",
    "Spec",
    "compare",
    "estimate",
    "read_spec",
    "search",
]
