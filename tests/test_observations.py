"""Properties that every stock observation has, over the table of named cases."""

from __future__ import annotations

import copy
import itertools
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from pyro.distributions.testing.gof import auto_goodness_of_fit
from torch import Tensor

from pyro_vae import Head
from pyro_vae.data import levels
from pyro_vae.heads import BuiltHead

from .quadrature import expectation, points
from .zoo import CASES, NAMES, Copied, copies

# Below a concentration of 0.6 a Beta has mass closer to 1 than float64 has numbers there.
RAWS = [-0.5, 0.0, 1.5, 4.0]
FAILURE_RATE = 1e-4  # of the goodness-of-fit tests, each at seed 0

NO_CDF = {
    *("BernoulliCrossEntropy", "Beta", "BetaBinomial", "LevelMass"),
    *("NegativeBinomial", "Poisson", "StudentT"),
}
LACKING = {
    "mean": {"Cauchy"},
    "variance": {"Cauchy"},
    "cdf": NO_CDF,
    "icdf": NO_CDF,
    "infer_shapes": {"Discretized", "LogNormal", "ZeroOneInflated"},
}
"""Families, or bases of theirs, without such a member or a finite one; all others must have it."""


def own_x(head: Head) -> bool:
    """Whether a scale is computed from the very x that is scored: no density."""
    return head.kind_on(torch.tensor([0.3])) == "loss"


def built(name: str, shape: tuple[int, ...] = (1,)) -> BuiltHead:
    head = CASES[name]().build(shape)
    with torch.no_grad():
        for buffer in head.buffers():
            buffer.fill_(0.3 if buffer.dtype.is_floating_point and buffer.dim() else buffer.item())
    return head


def at(name: str, raw: float) -> Any:
    """The distribution of one site at the same raw number everywhere."""
    head = built(name).double()
    with torch.no_grad():
        for parameter in head.learned.parameters():
            parameter.fill_(raw)
        return head(torch.full((head.numbers,), raw, dtype=torch.float64))


LIKELIHOODS = [name for name in NAMES if not own_x(CASES[name]()) or CASES[name]().levels == "grey"]
LOSSES = [name for name in NAMES if name not in LIKELIHOODS]


def lacks(name: str, member: str) -> bool:
    bases = type(at(name, 0.0).base_dist).__mro__
    return bool({base.__name__ for base in bases} & LACKING[member])


def having(*members: str) -> pytest.MarkDecorator:
    """Every likelihood that has these members."""
    names = [name for name in LIKELIHOODS if not any(lacks(name, m) for m in members)]
    assert len(names) >= 5
    return pytest.mark.parametrize("name", names)


def data(head: BuiltHead, u: float = 0.5) -> Tensor:
    """Some levels as the observation takes them, (5, *data_shape)."""
    k = torch.tensor([0, 1, 128, 254, 255], dtype=torch.uint8)
    k = k.reshape(-1, *[1] * len(head.data_shape)).expand(-1, *head.data_shape)
    return levels.get(head.head.levels).observe(k, torch.full(k.shape, u), head.head.interval)


def test_there_are_likelihoods_and_losses() -> None:
    assert len(LIKELIHOODS) >= 10
    assert 1 <= len(LOSSES) <= 4
    assert all(CASES[name]().parameters[-1][1].origin == "residual" for name in LOSSES)


def test_what_families_lack_is_listed() -> None:
    families = {type(at(name, 0.0).base_dist).__name__: name for name in LIKELIHOODS}
    arguments = {"cdf": torch.tensor([0.0]), "icdf": torch.tensor([0.5])}
    for family, name in families.items():
        base = at(name, 0.0).base_dist
        for member in LACKING:
            try:
                if member == "infer_shapes":
                    infer_shapes(built(name, (2,)), base)
                    found = True
                elif member in arguments:
                    found = bool(torch.isfinite(getattr(base, member)(arguments[member])).all())
                else:
                    found = bool(torch.isfinite(getattr(base, member)).all())
            except NotImplementedError:
                found = False
            # Another version of torch may have what this one lacks.
            assert found or lacks(name, member), (family, member)


@pytest.mark.parametrize("raw", RAWS)
@pytest.mark.parametrize("name", LIKELIHOODS)
def test_densities_integrate_and_masses_sum_to_one(name: str, raw: float) -> None:
    p = at(name, raw)
    assert expectation(p, torch.ones_like) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("raw", RAWS)
@having("mean", "variance")
def test_mean_and_variance_by_quadrature(name: str, raw: float) -> None:
    p = at(name, raw)
    mean = float(p.mean)
    assert expectation(p, lambda x: x) == pytest.approx(mean, rel=1e-5, abs=1e-6)
    variance = expectation(p, lambda x: (x - mean).square())
    assert variance == pytest.approx(float(p.variance), rel=1e-4)


@pytest.mark.parametrize("raw", RAWS)
@having("cdf")
def test_cdf_by_quadrature(name: str, raw: float) -> None:
    p = at(name, raw)
    for x in p.sample((5,)).flatten():
        cdf = float(p.base_dist.cdf(x))
        assert cdf == pytest.approx(expectation(p, torch.ones_like, below=float(x)), abs=1e-6)


@pytest.mark.parametrize("raw", RAWS)
@having("cdf", "icdf")
def test_icdf_is_the_inverse_of_cdf(name: str, raw: float) -> None:
    base = at(name, raw).base_dist
    u = torch.tensor([[1e-3], [0.1], [0.5], [0.9], [0.999]], dtype=torch.float64)
    assert torch.allclose(base.cdf(base.icdf(u)), u, rtol=0, atol=1e-8)
    x = base.icdf(u)
    assert torch.allclose(base.icdf(base.cdf(x)), x, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_samples_follow_the_density(name: str) -> None:
    p = at(name, 0.7)
    samples = p.sample((20_000,))
    if len(samples.unique()) < 1000:
        value = _chi_square(p, samples.flatten())
    else:
        value = auto_goodness_of_fit(samples.squeeze(-1), p.log_prob(samples).exp())
    assert value > FAILURE_RATE


def _chi_square(p: Any, samples: Tensor) -> float:
    """The p-value of counts; values of less than 20 expected ones join the rarest other one."""
    values, _ = points(p)
    expected = p.log_prob(values[:, None]).exp() * len(samples)
    observed = (samples[:, None] == values).sum(0).double()
    assert float(observed.sum()) == len(samples)
    frequent = expected >= 20
    rarest = torch.where(frequent, expected, torch.inf).argmin()
    cells = []
    for counts in (observed, expected):
        counts[rarest] += counts[~frequent].sum()
        cells.append(counts[frequent])
    statistic = ((cells[0] - cells[1]).square() / cells[1]).sum()
    return float(scipy.stats.chi2.sf(float(statistic), len(cells[0]) - 1))


@pytest.mark.parametrize("u", [2**-16, 0.5, 1 - 2**-16])
@pytest.mark.parametrize("name", NAMES)
def test_log_prob_and_its_gradient_are_finite_in_float32(name: str, u: float) -> None:
    head = built(name, (3,))
    x = data(head, u)
    assert x.dtype == torch.float32
    if head.head.levels == "dequantised":
        assert float(x[1, 0]) == (1 + u) / 256
        assert 0 < float(x.min()) < float(x.max()) < 1
    grid = torch.tensor([-100.0, -30.0, -5.0, 0.0, 5.0, 30.0, 100.0])
    raws = torch.cartesian_prod(*[grid] * len(head.head.parameters)).reshape(-1, 1)
    raw = raws.expand(-1, head.numbers).clone().requires_grad_(True)
    mixed = grid[torch.randint(len(grid), (500, head.numbers))].requires_grad_(True)
    for point in (raw, mixed):
        log_prob = head(point[:, None], x).log_prob(x)
        assert torch.isfinite(log_prob).all()
        leaves = [point, *head.parameters()]
        gradients = torch.autograd.grad(log_prob.sum(), leaves, allow_unused=True)
        assert gradients[0] is not None
        assert all(torch.isfinite(g).all() for g in gradients if g is not None)


@pytest.mark.parametrize("raw", [-100.0, -10.0, 10.0, 100.0])
@pytest.mark.parametrize("name", NAMES)
def test_learned_numbers_are_finite_at_the_extremes(name: str, raw: float) -> None:
    head = built(name, (3,))
    with torch.no_grad():
        for parameter in head.learned.parameters():
            parameter.fill_(raw)
    x = data(head)
    log_prob = head(torch.zeros(5, head.numbers), x).log_prob(x)
    assert torch.isfinite(log_prob).all()
    learned = list(head.learned.parameters())
    if learned:
        gradients = torch.autograd.grad(log_prob.sum(), learned)
        assert all(torch.isfinite(g).all() for g in gradients)


def infer_shapes(head: BuiltHead, base: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    names = [name for name, _ in head.head.parameters]
    if not set(names) <= set(base.arg_constraints):  # a function's: the distribution has its own
        names = [name for name in base.arg_constraints if name in vars(base)]
    shapes = {name: getattr(base, name).shape for name in names}
    batch, event = type(base).infer_shapes(**shapes)
    return tuple(batch), tuple(event)


@pytest.mark.parametrize("name", [n for n in NAMES if not lacks(n, "infer_shapes")])
def test_infer_shapes(name: str) -> None:
    head = built(name, (2,))
    base = head(torch.zeros(3, head.numbers)).base_dist
    assert infer_shapes(head, base) == ((3, 2), ())


@pytest.mark.parametrize("name", NAMES)
def test_expand_mask_and_to_event(name: str) -> None:
    head = built(name, (2,))
    x = data(head)
    d = head(torch.randn(5, head.numbers), x)
    assert torch.allclose(d.expand((4, 5)).log_prob(x), d.log_prob(x).expand(4, 5))
    assert torch.equal(d.mask(False).log_prob(x), torch.zeros(5))
    mask = torch.tensor([True, False, True, True, False])
    assert torch.equal(d.mask(mask).log_prob(x), torch.where(mask, d.log_prob(x), 0.0))
    base = d.base_dist
    assert (base.batch_shape, base.event_shape) == ((5, 2), ())
    for more in (1, 2):
        event = base.to_event(more)
        expected = base.log_prob(x).sum(tuple(range(-more, 0)))
        assert torch.allclose(event.log_prob(x), expected)


@pytest.mark.parametrize("name", NAMES)
def test_leading_particle_dimensions_broadcast(name: str) -> None:
    head = built(name, (1, 2, 2)).eval()
    x = data(head)
    raw = torch.randn(4, 3, 5, head.numbers)
    together = head(raw, x).log_prob(x)
    assert together.shape == (4, 3, 5)
    for i, j in itertools.product(range(4), range(3)):
        assert torch.allclose(together[i, j], head(raw[i, j], x).log_prob(x), rtol=1e-5, atol=1e-5)
    assert head(raw[:1, :1]).expand((4, 3, 5)).sample().shape == (4, 3, 5, 1, 2, 2)


@copies
@pytest.mark.parametrize("name", NAMES)
def test_copies_of_a_distribution(name: str, copied: Copied) -> None:
    head = built(name, (2,))
    x = data(head)
    with torch.no_grad():
        d = head(torch.randn(5, head.numbers), x)
    other = copied(d)
    assert torch.equal(other.log_prob(x), d.log_prob(x))


def test_every_head_reaches_a_fresh_process(tmp_path: Path) -> None:
    """As a data loader's spawned workers get it: head, its links, and the built module."""
    made, expected = {}, {}
    for name in NAMES:
        head = built(name, (2,))
        raw, x = torch.full((5, head.numbers), 0.3), data(head)
        made[name] = (CASES[name](), head, head.links, raw, x)
        with torch.no_grad():
            expected[name] = head(raw, x).log_prob(x).tolist()
    (tmp_path / "heads").write_bytes(pickle.dumps(made))
    code = (
        "import json, pickle, sys, torch\n"
        "with open(sys.argv[1], 'rb') as stream:\n    made = pickle.load(stream)\n"
        "torch.set_num_threads(1)\n"
        "print(json.dumps({name: head(raw, x).log_prob(x).tolist()\n"
        "    for name, (_, head, _, raw, x) in made.items()}))\n"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "heads")]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout

    found = json.loads(said)
    assert set(found) == set(NAMES)
    for name in NAMES:
        assert np.allclose(found[name], expected[name], rtol=1e-6), name


@pytest.mark.parametrize("name", NAMES)
def test_log_prob_is_traced_whole(name: str) -> None:
    head = built(name, (4,))
    x = levels.get(head.head.levels).observe(
        torch.arange(12, dtype=torch.uint8).reshape(3, 4), torch.full((3, 4), 0.5), (0.0, 1.0)
    )
    other = copy.deepcopy(head)

    def log_prob(raw: Tensor) -> Tensor:
        value: Tensor = other(raw, x).log_prob(x)
        return value

    raw = torch.randn(3, head.numbers)
    with torch.no_grad():
        expected = head(raw, x).log_prob(x)
        torch.distributions.Distribution.set_default_validate_args(False)
        try:
            compiled = torch.compile(log_prob, backend="eager")(raw)
        finally:
            torch.distributions.Distribution.set_default_validate_args(True)
    assert np.allclose(compiled, expected, rtol=1e-5)
