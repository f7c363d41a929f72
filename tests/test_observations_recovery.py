"""Each head's own draws, fitted by stochastic gradients, give back the distribution they are from.

Statistical tests: seed 0 (conftest). The KL left by 10⁵ draws is about (number of parameters) /
(2 · 10⁵), at most 0.002 nats for 256 free logits; the bound of 0.01 nats is far above its spread.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pyro_vae.heads import BuiltHead

from .test_observations import LIKELIHOODS, built

pytestmark = pytest.mark.slow

DRAWS, BATCH, STEPS = 100_000, 500, 300
NATS = 0.01

IDENTIFIABLE = {
    "bernoulli": ("logits",),
    "bernoulli-binary": ("logits",),
    "continuous-bernoulli": ("logits",),
    "normal": ("loc",),
    "normal-small-sigma": ("loc",),
    "normal-per-dataset": ("loc", "scale"),
    "normal-per-dimension": ("loc", "scale"),
    "normal-per-image": ("loc", "scale"),
    "normal-per-pixel": ("loc", "scale"),
    "normal-optimal-batch": ("loc", "scale"),
    "laplace": ("loc", "scale"),
    "beta": ("concentration1", "concentration0"),
}
"""Parameters that the draws pin down to a few percent, and no others can stand in for.

Not here: a Student-t's degrees of freedom and scale, which make up for each other; a mixture's
components, which can swap; gates and categorical logits, which can all shift by a constant; a
truncated Normal's location and scale where it is nearly flat.
"""


def truth_of(name: str) -> tuple[BuiltHead, Tensor]:
    """A head with known numbers, its own and the decoder's."""
    head = built(name).eval()
    with torch.no_grad():
        for parameter in head.learned.parameters():
            parameter.fill_(1.0)
    return head, 0.6 + 1.1 * torch.cos(0.5 + 2 * torch.arange(head.numbers))


def fitted(name: str, x: Tensor) -> tuple[BuiltHead, Tensor]:
    """Fitted from raw numbers of about 0: exactly there, a mixture's components stay alike."""
    head = built(name)
    raw = (0.1 * torch.randn(head.numbers)).requires_grad_(True)
    parameters = [raw, *head.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=0.1)
    decay = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - step / STEPS)
    for _ in range(STEPS):
        batch = x[torch.randint(len(x), (BATCH,))]
        optimiser.zero_grad()
        (-head(raw, batch).log_prob(batch).mean()).backward()
        optimiser.step()
        decay.step()
    if "residual" in head.origins():
        with torch.no_grad():
            head.freeze((x - head(raw).mean).square().mean(0))
    return head.eval(), raw.detach()


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_recovery(name: str) -> None:
    head, raw = truth_of(name)
    with torch.no_grad():
        truth = head(raw)
        x, fresh = truth.sample((DRAWS,)), truth.sample((DRAWS,))
    other, found = fitted(name, x)
    with torch.no_grad():
        fit = other(found)
        kl = (truth.log_prob(fresh) - fit.log_prob(fresh)).double().mean()
        start = (truth.log_prob(fresh) - built(name).eval()(0 * raw).log_prob(fresh)).mean()
    assert abs(float(kl)) < NATS
    assert start > 2 * NATS  # there was something to find
    for parameter in IDENTIFIABLE.get(name, ()):
        true, got = (getattr(p.base_dist, parameter) for p in (truth, fit))
        assert torch.allclose(got, true, rtol=0.05, atol=0.02), parameter


def test_identifiable_cases_exist() -> None:
    assert set(IDENTIFIABLE) <= set(LIKELIHOODS)
