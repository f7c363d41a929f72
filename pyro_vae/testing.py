"""The contract that every head keeps, as a function that others can run on theirs."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions.constraints import Constraint

from pyro_vae.data import levels as data_levels
from pyro_vae.errors import InputError
from pyro_vae.heads import BuiltHead, Head

__all__ = ["check_head"]

_LEVELS = (0, 1, 7, 128, 254, 255)
_RAWS = (-100.0, -10.0, -1.0, 0.0, 1.0, 10.0, 100.0)
_SIZES = (1.0, 2.0, 5.0, 10.0, 30.0, 100.0)
_DRAWS = 2000
_TOLERANCE = 1e-3


def check_head(head: Head, data_shape: tuple[int, ...] = (3,)) -> tuple[str, ...]:
    r"""Check that a head keeps the contract of the stock observations.

    In this order: ``build`` (its parameters fit the shape), ``shapes`` (batch and event, with
    leading particle dimensions), ``expand`` and ``mask``, ``finite`` (log-probability and gradients
    in float32, raw output from −100 to 100), ``samples`` (thousands at each raw output from −100 to
    100 lie in the support, with finite log-probability: a family that rounds a draw to an end
    without a density fails here), ``normalisation`` (integrates or sums to 1 at every site, to
    10⁻³; only where sites are single numbers and the head is no loss), ``display`` (a picture of
    the data's shape) and ``pickle`` (worker processes need it). Random state is left as it was.

    Args:
        head: The head.
        data_shape: Of one image or vector.

    Returns:
        The names of the parts that were checked.

    Raises:
        InputError: Naming the first part that fails, and how.

    Example:
        >>> import pyro.distributions as dist
        >>> check_head(Head.of(dist.Gumbel, "loc", scale="image"))[-2:]
        ('display', 'pickle')
    """
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        built = head.build(data_shape)
        checked = ["build"]
        for name, check in _CHECKS.items():
            try:
                done = check(built)
            except InputError as error:
                raise InputError(f"{head.title} fails check_head at {name}: {error}") from None
            except Exception as error:
                said = (str(error).splitlines() or ["no reason given"])[0]
                raise InputError(
                    f"{head.title} fails check_head at {name}: {type(error).__name__}: {said}"
                ) from error
            checked += [name] if done else []
    return tuple(checked)


def _data(built: BuiltHead) -> Tensor:
    """Some data as the observation takes them: (levels, *data_shape)."""
    k = torch.tensor(_LEVELS, dtype=torch.uint8)
    k = k.reshape(-1, *[1] * len(built.data_shape)).expand(-1, *built.data_shape)
    noise = torch.full(k.shape, 0.5)
    x = data_levels.get(built.head.levels).observe(k, noise, built.head.interval)
    p = built(torch.zeros(built.numbers))
    support = p.support
    if built.site_event and not bool(support.check(x).all()):
        # Numbers that must fit together, as those of a simplex: what it draws itself.
        return p.sample((len(_LEVELS),))  # type: ignore[no-any-return]
    base = getattr(support, "base_constraint", support)
    top = getattr(base, "upper_bound", None)
    return (
        x if top is None or not base.is_discrete else x.clamp(max=float(torch.as_tensor(top).max()))
    )


def _require(condition: bool, words: str) -> None:
    if not condition:
        raise InputError(words)


def _shapes(built: BuiltHead) -> bool:
    for lead in ((), (2,), (3, 2)):
        p = built(torch.randn(*lead, built.numbers))
        found, wanted = (p.batch_shape, p.event_shape), (lead, built.data_shape)
        _require(
            found == wanted,
            f"raw output of shape {(*lead, built.numbers)} must give batch and event shape "
            f"{wanted}, gave {tuple(map(tuple, found))}",
        )
        x = _data(built)[0].expand(*lead, *built.data_shape)
        log_prob = p.log_prob(x).shape
        _require(log_prob == lead, f"log_prob must have shape {lead}, has {tuple(log_prob)}")
    return True


def _samples(built: BuiltHead) -> bool:
    draws = math.ceil(_DRAWS / math.prod(built.data_shape))
    wanted = (draws, 1, *built.data_shape)
    for value in (*_SIZES, 0.0, *(-size for size in _SIZES)):
        one = torch.full((1, built.numbers), value)
        # One parameter far up beside another far down is another extreme than all on one side.
        either = torch.where(torch.rand(one.shape) < 0.5, one, -one)
        for raw, at in ((one, f"{value:g}"), (either, f"{value:g} and {-value:g}")):
            p = built(raw)
            x = p.sample((draws,))
            _require(x.shape == wanted, f"samples must have shape {wanted}, have {tuple(x.shape)}")
            inside = bool(p.support.check(x).all())
            _require(inside, f"samples lie outside the support {p.support} at raw output {at}")
            finite = bool(torch.isfinite(p.log_prob(x)).all())
            _require(finite, f"log_prob of a sample is not finite at raw output {at}")
    return True


def _expand(built: BuiltHead) -> bool:
    p, x = built(torch.randn(2, built.numbers)), _data(built)[:1]
    expected = p.log_prob(x)
    same = torch.allclose(p.expand((4, 2)).log_prob(x), expected.expand(4, 2), equal_nan=True)
    _require(same, "expand changes log_prob")
    return True


def _mask(built: BuiltHead) -> bool:
    p, x = built(torch.randn(2, built.numbers)), _data(built)[:1]
    _require(not bool(p.mask(False).log_prob(x).any()), "a masked log_prob must be 0")
    return True


def _finite(built: BuiltHead) -> bool:
    x = _data(built)
    for value in _RAWS:
        raw = torch.full((len(x), built.numbers), value, requires_grad=True)
        log_prob = built(raw, x).log_prob(x)
        at = f"at raw output {value:g}"
        _require(bool(torch.isfinite(log_prob).all()), f"log_prob is not finite {at}")
        leaves = [raw, *built.parameters()]
        gradients = torch.autograd.grad(log_prob.sum(), leaves, allow_unused=True)
        finite = all(bool(torch.isfinite(g).all()) for g in gradients if g is not None)
        _require(finite, f"the gradient of log_prob is not finite {at}")
    return True


def _normalisation(built: BuiltHead) -> bool:
    if built.site_event or not built.grid or _is_loss(built):
        return False
    # Raw output above 0: below, a density may have mass closer to 1 than float64 has numbers there.
    with torch.no_grad():
        p = built.double()(torch.rand(built.numbers, dtype=torch.float64))
    built.float()
    points, weights = _points(p.base_dist.support, built.head)
    x = points.reshape(-1, *[1] * len(built.grid)).expand(-1, *built.grid)
    mass = p.base_dist.log_prob(x).exp() * weights.reshape(-1, *[1] * len(built.grid))
    total = mass.sum(0)
    worst = total.flatten()[(total - 1).abs().argmax()]
    _require(
        bool((total - 1).abs().max() < _TOLERANCE),
        f"a {built.head.kind} must come to 1 at every site, came to {float(worst):.4g}",
    )
    return True


def _is_loss(built: BuiltHead) -> bool:
    return built.head.kind_on(torch.tensor([0.3])) == "loss"


def _points(support: Constraint, head: Head) -> tuple[Tensor, Tensor]:
    """Points of a sum or of a quadrature over one site's support, and their weights."""
    if head.kind == "mass" or head.levels in ("binary", "threshold"):
        top = getattr(support, "upper_bound", 4095)
        points = torch.arange(int(torch.as_tensor(top).max()) + 1, dtype=torch.float64)
        return points, torch.ones_like(points)
    t = torch.linspace(-36, 36, 20_001, dtype=torch.float64)
    step = t[1] - t[0]
    low, high = getattr(support, "lower_bound", None), getattr(support, "upper_bound", None)
    if low is not None and high is not None:
        s = torch.sigmoid(t)
        return low + (high - low) * s, (high - low) * s * torch.sigmoid(-t) * step
    if low is not None:
        return low + t.exp(), t.exp() * step
    a, b = head.interval
    return (a + b) / 2 + 0.1 * (b - a) * t.sinh(), 0.1 * (b - a) * t.cosh() * step


def _display(built: BuiltHead) -> bool:
    try:
        shown = built.head.display(built(torch.randn(2, built.numbers)))
    except NotImplementedError:  # a family without a mean is scored all the same
        return False
    wanted = (2, *built.data_shape)
    _require(shown.shape == wanted, f"display must give {wanted}, gave {tuple(shown.shape)}")
    return True


def _pickle(built: BuiltHead) -> bool:
    raw, x = torch.randn(built.numbers), _data(built)
    other = pickle.loads(pickle.dumps(built))
    _require(torch.equal(other(raw).log_prob(x), built(raw).log_prob(x)), "a copy differs")
    return True


_CHECKS: dict[str, Callable[[BuiltHead], bool]] = {
    "shapes": _shapes,
    "expand": _expand,
    "mask": _mask,
    "finite": _finite,
    "samples": _samples,
    "normalisation": _normalisation,
    "display": _display,
    "pickle": _pickle,
}
