"""The table of named cases: every stock observation, in every form. Adding one adds one line.

``NAMES`` goes through the property tests; a case is the arguments of ``observations.get``.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from pyro_vae import Head, Param, observations

copies = pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))],
    ids=["copy", "deepcopy", "pickle"],
)
"""Ways to copy a thing, after which a test that takes ``copied`` finds an equal one."""
Copied = Callable[[Any], Any]

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
    "truncated-normal": lambda: observations.get("truncated-normal"),
    "cauchy": lambda: observations.get("cauchy"),
    "kumaraswamy": lambda: observations.get("kumaraswamy"),
    "logit-normal": lambda: observations.get("logit-normal"),
    "discretized-normal": lambda: observations.get("discretized-normal"),
    "discretized-truncated-normal": lambda: observations.get("discretized-truncated-normal"),
    "discretized-laplace": lambda: observations.get("discretized-laplace"),
    "discretized-logistic": lambda: observations.get("discretized-logistic"),
    "logistic-mixture": lambda: observations.get("logistic-mixture"),
    "zero-one-inflated": lambda: observations.get("zero-one-inflated"),
    "discretized-continuous-bernoulli": lambda: observations.get(
        "discretized-continuous-bernoulli"
    ),
    "discretized-kumaraswamy": lambda: observations.get("discretized-kumaraswamy"),
    "discretized-beta": lambda: observations.get("discretized-beta"),
    "binomial": lambda: observations.get("binomial"),
    "beta-binomial": lambda: observations.get("beta-binomial"),
    "categorical": lambda: observations.get("categorical"),
    "poisson": lambda: observations.get("poisson"),
    "negative-binomial": lambda: observations.get("negative-binomial"),
    "real-normal": lambda: observations.get("real-normal"),
    "real-student-t": lambda: observations.get("real-student-t"),
    "lognormal": lambda: observations.get("lognormal"),
}

NAMES = list(CASES)
