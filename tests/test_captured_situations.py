"""A captured objective says what the program's own pass does, or why it is not used."""

from __future__ import annotations

import gc
import pickle
import random
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pyro
import pytest
import torch
from torch import Tensor

from pyro_vae import objectives
from pyro_vae.objectives import CapturedELBO, TraceELBO

from .captured import SITUATIONS, UNSEEN, Net, Step, data, pair, seen

STEPS = 8
COMPILED = ("reads_sort", "state_attribute", "arguments_strides", "network_batch_norm")
"""Compiling takes seconds each; tracing and watching are the same."""


def seeded(i: int) -> None:
    torch.manual_seed(i)
    random.seed(i)
    np.random.seed(i)


def steps_of(make: Callable[[], Step], elbo: Any) -> list[list[Any]]:
    """Every step of a situation made anew; of an error its name."""
    pyro.clear_param_store()
    torch.manual_seed(0)
    step, found = make(), []
    for i in range(STEPS):
        seeded(i)
        try:
            found.append([_kept(value) for value in step(elbo, i)])
        except Exception as error:  # what the program itself says of such a use
            found.append([type(error).__name__])
    return found


def _kept(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, Tensor) else value


def check(make: Callable[[], Step], tolerance: float, **options: Any) -> CapturedELBO:
    captured = CapturedELBO(**options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's, about what some situations do
        wanted, found = steps_of(make, TraceELBO()), steps_of(make, captured)
    assert len(wanted) == STEPS
    for i, (ours, theirs) in enumerate(zip(found, wanted, strict=True)):
        if ours and isinstance(ours[0], str) and ours[0].startswith("refused"):
            continue
        assert len(ours) == len(theirs), i
        for k, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            if isinstance(b, Tensor):
                torch.testing.assert_close(
                    a, b, rtol=tolerance, atol=tolerance, equal_nan=True, msg=f"step {i}, {k}"
                )
            else:
                assert a == b, i
    return captured


ESSENTIAL = [
    pytest.param(name, marks=[pytest.mark.slow] if i % 3 else [])
    for i, name in enumerate(SITUATIONS)
]


@pytest.mark.parametrize("name", ESSENTIAL)
def test_never_another_number(name: str) -> None:
    check(SITUATIONS[name], 0.1 if "autocast" in name else 2e-5, backend="aten")


@pytest.mark.parametrize("name", UNSEEN)
def test_a_check_finds_what_cannot_be_watched(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYRO_VAE_TEST", "1")
    limit = sys.getrecursionlimit()
    elbo = check(UNSEEN[name], 2e-5, backend="aten", check_every=1)
    sys.setrecursionlimit(limit)
    assert elbo.reason is not None
    assert "loss is" in elbo.reason


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPILED)
def test_never_another_number_compiled(name: str) -> None:
    check(SITUATIONS[name], 1e-4, backend="inductor")


def test_there_are_enough_situations() -> None:
    assert len(SITUATIONS) >= 120


@pytest.mark.parametrize(
    "name",
    [
        "reads_sort", "reads_data", "reads_torch_noise", "reads_index_put", "network_mlp",
        "network_batch_norm", "network_spectral", "state_weight_data", "pyro_parameters",
        "pyro_modules", "subsampled_rows", "no_tensor_among_the_arguments",
        "a_closure_holds_an_argument", "always_under_autocast", "arguments_twice_the_same",
    ],
)  # fmt: skip
def test_what_can_be_a_graph_is_one(name: str) -> None:
    """Nothing is right by being refused alone."""
    elbo = CapturedELBO(backend="aten")
    step = SITUATIONS[name]()
    for _ in range(3):
        seeded(0)
        step(elbo, 0)
    assert elbo.reason is None
    assert any(known._graph is not None for known in elbo._programs)


def test_draws_cut_off_by_a_pass_are_no_parameters() -> None:
    """A doubly reparameterised bound takes its draws for leaves: they are others at each pass."""
    elbo, net = CapturedELBO(objectives.parse("dreg:3"), backend="aten"), Net()
    programs = pair(net)
    for _ in range(3):
        seeded(0)
        found = seen(elbo.differentiable_loss(*programs, data(0)), net.parameters())
    seeded(0)
    eager = objectives.parse("dreg:3", max_plate_nesting=1)
    wanted = seen(eager.differentiable_loss(*pair(net), data(0)), net.parameters())
    assert elbo.reason is None
    torch.testing.assert_close(found, wanted)


def test_dead_programs_take_no_place_and_kinds_are_a_cache() -> None:
    elbo, kept = CapturedELBO(backend="aten"), Net()
    programs = pair(kept)
    for _ in range(10):
        pass_of = pair(Net())
        elbo.differentiable_loss(*pass_of, data(0))
        del pass_of
        gc.collect()
    assert len([known for known in elbo._programs if known.alive()]) <= 1
    for n in [*range(3, 15), 4, 4, 4]:
        seen(elbo.differentiable_loss(*programs, data(0, n)), kept.parameters())
    assert elbo.reason is None
    assert len(elbo._programs) == 8


def test_a_pickled_objective_starts_anew() -> None:
    elbo, net = CapturedELBO(backend="aten", check_every=3), Net()
    for _ in range(3):
        elbo.differentiable_loss(*pair(net), data(0))
    again = pickle.loads(pickle.dumps(elbo))
    assert (again._programs, again.backend, again.check_every) == ([], "aten", 3)


@pytest.mark.parametrize("every", [0, -1, 1.5])
def test_an_impossible_check_is_refused(every: Any) -> None:
    with pytest.raises(ValueError, match="check_every must be a positive integer"):
        CapturedELBO(check_every=every)
