"""Networks in half precision; everything else in float32."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from pyro_vae import InputError, evaluate, fit, networks
from pyro_vae.config import FitConfig
from pyro_vae.training.train_state import TrainState

from .models import small

HALF = {"bfloat16": torch.bfloat16, "float16": torch.float16}


@pytest.mark.parametrize("name", HALF)
def test_only_the_networks_compute_in_it(name: str, few: Tensor) -> None:
    vae = small("normal-learned-sigma")
    seen: list[torch.dtype] = []
    for network in (vae.encoder, vae.decoder):
        network.register_forward_hook(lambda module, inputs, out: seen.append(out.dtype))
    state = TrainState(vae, FitConfig.of(precision=name), len(few))
    _, (model, guide) = state.traces(few[:16])
    assert seen == [HALF[name]] * 2
    assert vae.arithmetic is None
    sites = [guide.nodes["latent"], model.nodes["latent"], model.nodes["obs"]]
    for site in sites:
        assert site["value"].dtype == torch.float32
        assert site["fn"].log_prob(site["value"]).dtype == torch.float32
    assert {p.dtype for p in vae.parameters()} == {torch.float32}
    evaluate(vae, few[:16])
    assert seen[2:]
    assert set(seen[2:]) == {torch.float32}


@pytest.mark.parametrize("name", HALF)
def test_it_learns_the_same(name: str, few: Tensor) -> None:
    """Within what half precision's 8 or 11 bits leave of a gradient, over 60 steps."""
    scores = {}
    for precision in ("float32", name):
        torch.manual_seed(0)
        vae = small("bernoulli")
        options: dict[str, Any] = {"epochs": 20, "batch_size": 100, "init_from_data": False}
        history = fit(vae, few, precision=precision, **options)
        scores[precision] = [record["objective"] for record in history.epochs()]
    gained = scores["float32"][-1] - scores["float32"][0]
    assert gained > 50
    assert abs(scores[name][-1] - scores["float32"][-1]) < 0.05 * gained


def test_a_gradient_that_float16_cannot_hold_is_no_fault(few: Tensor) -> None:
    """The scaler starts at 2^16: the first updates may be left out, none of them is an error."""
    vae = small("normal-learned-sigma")
    history = fit(vae, few, epochs=10, batch_size=100, precision="float16", lr=1e-2)
    assert len(history.steps) == 30
    assert history.steps[-1]["loss"] < history.steps[0]["loss"]


def test_through_keeps_wider_dtypes() -> None:
    layer = torch.nn.Linear(3, 2).double()
    x = torch.randn(4, 5, 3, dtype=torch.float64)
    assert networks.through(layer, x, 1).dtype == torch.float64
    assert networks.through(layer.float(), x.float(), 1, torch.bfloat16).shape == (4, 5, 2)


def test_an_unknown_precision() -> None:
    with pytest.raises(InputError, match="did you mean 'float16'"):
        FitConfig.of(precision="fp16")
