"""The table of named cases: every stock observation, in every form. Adding one adds one line.

``NAMES`` goes through the property tests; a case is the arguments of ``observations.get``.
"""

from __future__ import annotations

from collections.abc import Callable

from pyro_vae import Head, Param, observations

CASES: dict[str, Callable[[], Head]] = {
    "bernoulli": lambda: observations.get("bernoulli"),
    "bernoulli-binary": lambda: observations.get("bernoulli", levels="binary"),
    "continuous-bernoulli": lambda: observations.get("continuous-bernoulli"),
    "normal": lambda: observations.get("normal"),
    "normal-small-sigma": lambda: observations.get("normal", scale=0.1),
    "normal-per-dataset": lambda: observations.get("normal-learned-sigma", scale="dataset"),
    "normal-per-dimension": lambda: observations.get("normal-learned-sigma", scale="dimension"),
    "normal-per-image": lambda: observations.get("normal-learned-sigma"),
    "normal-per-pixel": lambda: observations.get("normal-learned-sigma", scale="pixel"),
    "normal-from-data": lambda: observations.get("normal", scale=Param("dimension", source="data")),
    "normal-optimal-batch": lambda: observations.get("normal-optimal-sigma"),
    "normal-optimal-image": lambda: observations.get("normal-optimal-sigma", scale="image"),
    "laplace": lambda: observations.get("laplace"),
    "student-t": lambda: observations.get("student-t"),
    "beta": lambda: observations.get("beta"),
}

NAMES = list(CASES)
