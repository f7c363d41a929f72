"""Networks: torch modules for the two ends of a VAE, made from the sizes they must have."""

from pyro_vae.networks.ladder import Ladder
from pyro_vae.networks.making import NETWORKS, make, spec, through
from pyro_vae.networks.pairs import MLP, Conv
from pyro_vae.networks.sizes import Level, Networks, Sizes

__all__ = [
    "MLP",
    "NETWORKS",
    "Conv",
    "Ladder",
    "Level",
    "Networks",
    "Sizes",
    "make",
    "spec",
    "through",
]
