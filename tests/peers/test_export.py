"""``torch.export``: a program of every distribution's score, and of a VAE's networks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from pyro_vae import VAE, networks

from .adapters import ADAPTERS, Adapter

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated:DeprecationWarning"),
]


class Score(nn.Module):
    """The log-density of values, its distribution's parameters being the module's."""

    def __init__(self, adapter: Adapter, dtype: torch.dtype) -> None:
        super().__init__()
        self.make = adapter.make
        made = [nn.Parameter(torch.tensor(v, dtype=dtype)) for v in adapter.parameters]
        self.given = nn.ParameterList(made)

    def forward(self, x: Tensor) -> Tensor:
        scored: Tensor = self.make(*self.given).log_prob(x)
        return scored


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", ADAPTERS)
def test_an_exported_score_is_the_same(name: str, dtype: torch.dtype) -> None:
    """To the last bit, of other values and parameters than those that it was exported with."""
    adapter, validates = ADAPTERS[name], torch.distributions.Distribution._validate_args
    score = Score(adapter, dtype)
    x = torch.tensor(adapter.points, dtype=dtype)[:, None]
    torch.distributions.Distribution.set_default_validate_args(False)  # it reads values
    try:
        rows = torch.export.Dim("rows", min=2)
        exported = torch.export.export(score, (x,), dynamic_shapes=({0: rows},)).module()
        for values in (x, x.flip(0), torch.cat([x, x])):
            assert torch.equal(exported(values), score(values))
        state = {key: 0.9 * value for key, value in score.state_dict().items()}
        score.load_state_dict(state)
        exported.load_state_dict(state)
        assert torch.equal(exported(x), score(x))
    finally:
        torch.distributions.Distribution.set_default_validate_args(validates)


@pytest.mark.parametrize("network", ["encoder", "decoder"])
@pytest.mark.parametrize("kind", ["mlp", "conv"])
def test_an_exported_network_is_the_same(network: str, kind: str) -> None:
    made = {"mlp": networks.MLP(hidden=8), "conv": networks.Conv()}[kind]
    vae = VAE((1, 16, 16), 3, "normal-learned-sigma", made).eval()
    given = torch.rand(4, 1, 16, 16) if network == "encoder" else torch.randn(4, 3)
    module = getattr(vae, network)
    exported = torch.export.export(module, (given,)).module()
    for values in (given, given.flip(0)):
        found, wanted = exported(values), module(values)
        pairs = zip(tree_leaves(found), tree_leaves(wanted), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
