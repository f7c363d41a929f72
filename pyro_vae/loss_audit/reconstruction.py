"""Which likelihood a reconstruction term is, told from its gradient value by value."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pyro_vae.loss_audit import kinds
from pyro_vae.loss_audit.kinds import Kind
from pyro_vae.loss_audit.points import FAR, Pairs, Sizes, fit
from pyro_vae.loss_audit.probes import Probe
from pyro_vae.loss_audit.wording import Role

__all__: list[str] = []

_TOLERANCE = 0.01


@dataclass(frozen=True)
class Reconstruction:
    """The term by value, and its weight.

    Attributes:
        name: In words.
        weight: Of one value's term; against the squared error for all that are quadratic in small
            errors. None where it is not constant.
        kind: The formula; None where it is no sum over values, or unknown.
    """

    name: str
    weight: float | None
    kind: Kind | None = None

    @property
    def axis(self) -> int | None:
        """The axis of x_hat over which values are coupled."""
        return None if self.kind is None else self.kind.axis


def recognise(probe: Probe) -> Reconstruction:
    """Name the likelihood behind the gradient with respect to x_hat, if its values agree."""
    if "term" not in probe.known:
        found = _told(probe)
        right = found.kind is None or _confirmed(probe, found)
        probe.known["term"] = found if right else Reconstruction(kinds.UNKNOWN, None)
    known: Reconstruction = probe.known["term"]
    return known


def _confirmed(probe: Probe, found: Reconstruction) -> bool:
    """Whether the loss changes by the term's change between images without a pattern."""
    if found.kind is None or not found.weight:
        return True
    images, positions = shares_of(probe, found.kind)
    codes = probe.tensors(probe.point)
    own, right = [], []
    for seed in (0, 1):
        image = fresh_image(probe, seed)
        own.append(probe.value_at({**codes, **image}))
        x_hat, x = image["x_hat"].double(), image["x"]
        x = x if probe.classes is not None else x.reshape(x_hat.shape).double()
        each = found.kind.term(x_hat, x).reshape(len(x_hat), -1) * positions
        right.append(found.weight * float((images[:, None] * each).sum()))
    change, wanted = own[1] - own[0], right[1] - right[0]
    # Between whole images much cancels: the size of the terms is what counts, in part.
    size = abs(wanted) + 1e-2 * max(map(abs, right))
    return abs(change - wanted) < (0.3 if probe.noisy else 0.01) * size


def shares_of(probe: Probe, kind: Kind) -> tuple[Tensor, Tensor]:
    """What images and positions weigh; all alike where a softmax couples values."""
    reading = probe.read(probe.point)
    if kind.axis is not None:
        return torch.ones_like(reading.images), torch.ones(1, dtype=torch.float64)
    return reading.images, reading.positions


def fresh_image(probe: Probe, seed: int, far: bool = False) -> dict[Role, Tensor]:
    """An image and an output for it without a pattern; outputs far from the data if asked for."""
    sizes = probe.point.sizes
    generator = torch.Generator().manual_seed(101 + seed)
    shape = (sizes.batch, *sizes.data)
    x = torch.rand(shape, generator=generator, dtype=torch.float64)
    if probe.point.pixels[0][0] == 0:
        x = (x > 0.5).double()
    x_hat = torch.rand(shape, generator=generator, dtype=torch.float64) * 0.9 + 0.05
    if seed & 1:  # every other one
        # Nearer to the data, so that not only the order of errors changes.
        x_hat = 0.05 + 0.9 * (0.3 * x_hat + 0.7 * (0.1 + 0.8 * x))
    if far:
        x_hat = x_hat * 8 - 3.6
    given = probe.shaped({"x": x.to(probe.dtype), "x_hat": x_hat.to(probe.dtype)})
    return {"x": given["x"], "x_hat": given["x_hat"]}


def _told(probe: Probe) -> Reconstruction:
    observed = probe.read(probe.point).x_hat
    if float(observed.nan_to_num().norm()) == 0:
        return Reconstruction(kinds.NONE, 0.0)
    tolerance = 10 * _TOLERANCE if probe.noisy else _TOLERANCE
    if probe.classes is not None:
        return _coupled(probe, tolerance) or Reconstruction(kinds.UNKNOWN, None)
    kind, weight, residual = _best(observed, probe.point.pixels, kinds.KINDS)
    known = residual < tolerance
    if known and kind.name not in (kinds.SQUARED, kinds.ABSOLUTE):
        return Reconstruction(kind.name, weight, kind)
    whole = None if known and (kind.norm == 1 or _linear(probe)) else _whole(probe)
    if whole is not None:
        return Reconstruction(whole, None)
    found = _far(probe, tolerance) or (Reconstruction(kind.name, weight, kind) if known else None)
    return found or _coupled(probe, tolerance) or Reconstruction(kinds.UNKNOWN, None)


def _linear(probe: Probe) -> bool:
    """Whether the gradient of errors half as large is half as large."""
    point = probe.point.scaled(errors=0.5)
    try:
        factor, _ = fit(probe.read(point).x_hat, probe.read(probe.point).x_hat)
    except Exception:  # x_hat outside of a domain
        return True
    return abs(factor - 0.5) < 0.01


def _best(observed: Tensor, pixels: Pairs, known: Iterable[Kind]) -> tuple[Kind, float, float]:
    x, x_hat = torch.tensor(pixels, dtype=torch.float64).T
    fits = []
    for number, kind in enumerate(known):
        leaf = x_hat.clone().requires_grad_()
        with torch.enable_grad():
            (reference,) = torch.autograd.grad(kind.term(leaf, x).sum(), leaf)
        factor, residual = fit(observed, reference)
        # A term of the wrong sign is rarer than another right one.
        fits.append((round(residual, 9), factor < 0, number, kind, factor))
    residual, _, _, best, factor = min(fits, key=lambda found: found[:3])
    return best, factor, residual


def _coupled(probe: Probe, tolerance: float) -> Reconstruction | None:
    """Terms with a softmax: their gradient is compared value by value, on whole tensors."""
    if not probe.differentiable:
        return None
    tensors = probe.tensors(probe.point)
    observed = probe.gradients_at(tensors)[0]
    flat = observed.double().flatten()
    for kind in kinds.coupled(tensors["x_hat"].dim(), probe.classes):
        factor, residual = fit(flat, _reference(kind, probe, probe.point.sizes))
        if residual < tolerance:
            return Reconstruction(kind.name, factor, kind)
    return None


def _reference(kind: Kind, probe: Probe, sizes: Sizes) -> Tensor:
    tensors = probe.tensors(replace(probe.point, sizes=sizes))
    leaf = tensors["x_hat"].double().requires_grad_()
    x = tensors["x"] if probe.classes is not None else tensors["x"].double()
    with torch.enable_grad():
        (found,) = torch.autograd.grad(kind.term(leaf, x).sum(), leaf)
    return found.flatten()


def coupled_weight(probe: Probe, kind: Kind, sizes: Sizes) -> float:
    """The weight of a coupled term at other sizes."""
    tensors = probe.tensors(replace(probe.point, sizes=sizes))
    observed = probe.gradients_at(tensors)[0].double().flatten()
    return fit(observed, _reference(kind, probe, sizes))[0]


def _whole(probe: Probe) -> str | None:
    """Terms of a batch that are no sum over values: told by their values at several errors."""
    if probe.noisy:
        return None
    generator = torch.Generator().manual_seed(11)
    tensors = probe.tensors(probe.point)
    values, errors = [], []
    for number in range(6):
        shift = 0.1 + 0.8 * torch.rand(tensors["x_hat"].shape, generator=generator)
        # Errors of one sign in some: what cancels shows.
        x_hat = 0.5 + (0.1 + 0.1 * number) * (shift - 0.3 * (number % 3) - 0.1)
        given = {**tensors, "x_hat": x_hat.to(tensors["x_hat"].dtype)}
        try:
            values.append(probe.value_at(given))
        except Exception:  # outside of a domain
            return None
        errors.append((given["x_hat"] - tensors["x"].reshape(given["x_hat"].shape)).double())
    seen = torch.tensor(values, dtype=torch.float64)
    for name, formulas in kinds.WHOLES.items():
        for formula in formulas:
            reference = torch.stack([formula(error) for error in errors])
            _, residual = fit(seen - seen.mean(), reference - reference.mean())
            if residual < 1e-3:
                return name
    return None


def _far(probe: Probe, tolerance: float) -> Reconstruction | None:
    """Terms that look like a squared error as long as errors are small."""
    try:
        observed = probe.read(replace(probe.point, pixels=FAR)).x_hat
    except Exception:  # x_hat outside the unit interval is refused
        return None
    robust = (kinds.SQUARED_KIND, kinds.ABSOLUTE_KIND, kinds.LOG_COSH)
    kind, weight, residual = _best(observed, FAR, robust)
    if residual < tolerance:
        return Reconstruction(kind.name, weight, kind)
    finite = observed.isfinite()
    errors = torch.tensor([x_hat - x for x, x_hat in FAR], dtype=torch.float64)
    near = (errors.abs() < 0.05) & finite
    slope, _ = fit(observed[near], errors[near])
    turn = float(observed.abs()[finite].max()) / abs(slope) if slope else math.inf
    factor, residual = fit(observed, errors.clamp(-turn, turn))
    if residual < tolerance:
        return Reconstruction(kinds.HUBER, factor / 2, kinds.huber(turn))
    return None


def whole_constants(probe: Probe, found: Reconstruction, count: int) -> list[float]:
    """What a Gaussian's or a Laplace's constants may come to, over all values of a batch."""
    if found.kind is None or not found.kind.norm or not found.weight or found.weight < 0:
        return []
    squared = found.kind.norm == 2
    sums = []
    # Averaged over the batch, or not.
    for scale in (1.0, 1 / probe.point.sizes.batch):
        own = found.weight / scale
        full = 0.5 * math.log(math.pi / own) if squared else math.log(2 / own)
        lost = 0.5 * math.log(2 * math.pi) if squared else math.log(2)
        sums += [full * count * scale, (full - lost) * count * scale]
    return sums


def constants(
    probe: Probe, found: Reconstruction, scale: float, kl_offset: float, prior: tuple[float, float]
) -> tuple[str, str]:
    """Tell a log-density from its bare error by the value at a perfect reconstruction.

    Args:
        probe: The loss.
        found: Its term by pixel.
        scale: What a pixel's term is multiplied by through averages over axes.
        kl_offset: What the KL term comes to at the prior, where it is a mistaken one.
        prior: The mean and the scale argument of the prior.

    Returns:
        The kind with its constants, and a note on dropped ones (empty if there are none).
    """
    if found.name not in (kinds.SQUARED, kinds.ABSOLUTE) or not found.weight or found.weight < 0:
        return found.name, ""
    sizes = probe.point.sizes
    exact = tuple((x, x) for x, _ in probe.point.pixels)
    at_prior = replace(probe.point, pixels=exact, latents=(prior,))
    number = sizes.batch * math.prod(sizes.data) * scale
    offset = (probe.value(at_prior) - kl_offset) / number
    own = found.weight / scale
    squared = found.name == kinds.SQUARED
    lost = 0.5 * math.log(2 * math.pi) if squared else math.log(2)
    full = 0.5 * math.log(math.pi / own) if squared else math.log(2 / own)
    partial = full - lost
    name = kinds.GAUSSIAN if squared else kinds.LAPLACE
    size = math.prod(sizes.data)
    if abs(full) > 1e-3 and math.isclose(offset, full, rel_tol=1e-3, abs_tol=1e-5):
        return name, ""
    if abs(partial) > 1e-3 and math.isclose(offset, partial, rel_tol=1e-3, abs_tol=1e-5):
        text = "D/2 log(2 pi)" if squared else "D log 2"
        return name, f"The constant {text}, {lost * size:.1f} nats per image, is dropped."
    if squared:
        return found.name, (
            "The Gaussian's constant D/2 log(2 pi sigma^2) is dropped (per image "
            f"{full * size:.1f} nats at sigma {math.sqrt(1 / (2 * own)):.3g}): training is the "
            "same, values are no log-likelihoods."
        )
    return found.name, (
        f"The Laplace's constant D log(2 b) is dropped (per image {full * size:.1f} nats at b "
        f"{1 / own:.3g}): training is the same, values are no log-likelihoods."
    )
