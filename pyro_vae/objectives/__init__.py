"""Objectives: ELBO objects for any Pyro model and guide with reparameterised latent sites."""

from .analytic import CapacityELBO, FreeBitsELBO, MeanFieldELBO
from .base import Objective
from .sampled import DoublyReparameterizedELBO, ImportanceWeightedELBO, RenyiELBO, TraceELBO
from .specs import FORMS, parse
from .terms import log_weights

__all__ = [
    "FORMS",
    "CapacityELBO",
    "DoublyReparameterizedELBO",
    "FreeBitsELBO",
    "ImportanceWeightedELBO",
    "MeanFieldELBO",
    "Objective",
    "RenyiELBO",
    "TraceELBO",
    "log_weights",
    "parse",
]
