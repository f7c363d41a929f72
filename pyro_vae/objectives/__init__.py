"""Objectives: ELBO objects for any Pyro model and guide with reparameterised latent sites."""

from .analytic import CapacityELBO, FreeBitsELBO, MeanFieldELBO
from .base import Objective
from .captured import CapturedELBO
from .parsing import parse
from .sampled import DoublyReparameterizedELBO, ImportanceWeightedELBO, RenyiELBO, TraceELBO
from .terms import log_weights

__all__ = [
    "CapacityELBO",
    "CapturedELBO",
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
