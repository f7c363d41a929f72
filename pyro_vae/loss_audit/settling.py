"""Which way of calling a loss is the right one, and what each of its numbers weighs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from pyro_vae.loss_audit import kinds, kl, reconstruction, wording
from pyro_vae.loss_audit.binding import Binding
from pyro_vae.loss_audit.calling import candidates
from pyro_vae.loss_audit.points import Reading, Sizes, fit
from pyro_vae.loss_audit.probes import Probe

__all__: list[str] = []

#: Values of an epoch or a step, by which a warm-up has come to its end.
_TIMES = (*(unit * 10**power for power in range(6) for unit in (1, 5)), 10**6)


@dataclass(frozen=True)
class Effect:
    """What doubling a number does to the gradients of the two terms, and to the value.

    Attributes:
        pixels: Factor of the reconstruction term's gradient; None if it changes its form.
        latents: The same for the KL.
        moved: The value of the loss changed.
    """

    pixels: float | None
    latents: float | None
    moved: bool

    @property
    def weighs_kl(self) -> bool:
        """It multiplies the KL, and nothing else."""
        return _is(self.latents, 2) and _is(self.pixels, 1)

    @property
    def still(self) -> bool:
        """It changes nothing at all."""
        return not self.moved and _is(self.pixels, 1) and _is(self.latents, 1)


def _is(factor: float | None, wanted: float) -> bool:
    return factor is not None and abs(factor - wanted) < 1e-3


def function_of(target: Any) -> Any:
    """A loss as something to call: a class of losses is made with its defaults.

    Raises:
        ValueError: If the class cannot be made without arguments.
    """
    if not (
        isinstance(target, type) and (issubclass(target, nn.Module) or "__call__" in vars(target))
    ):
        return target
    try:
        return target()
    except Exception as error:  # whatever other people's code raises
        message = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        needed = inspect.signature(target)
        raise ValueError(
            f"{target.__name__}{needed} is a class that could not be made without arguments "
            f"({message}). Write: loss = {target.__name__}(...), and audit that"
        ) from None


def settle(function: Callable[..., Any], sizes: Sizes) -> tuple[Binding, Probe, list[str]]:
    """Choose among the ways that names allow by what the loss does with its arguments.

    Returns:
        The way, the loss called that way, and notes on what was chosen.

    Raises:
        TypeError: If it is no function.
        ValueError: If it cannot be called.
    """
    problem: ValueError | None = None
    tried: list[tuple[int, Binding, Probe, list[str]]] = []
    for binding in candidates(function):
        try:
            probe = Probe(function, binding, sizes)
        except ValueError as error:
            problem = problem or error
            continue
        binding, probe, notes = _switched_on(function, binding, probe)
        tried.append((_cost(binding, probe), binding, probe, notes))
        if tried[-1][0] == 0:
            break
    if not tried:
        raise problem or ValueError("no way of calling it was found")
    _, binding, probe, notes = min(tried, key=lambda found: found[0])
    first = tried[0]
    if binding is not first[1] and _roles(binding) != _roles(first[1]):
        notes = [*notes, _both(binding, first[1], first[2])]
    return binding, probe, notes


def _roles(binding: Binding) -> list[str]:
    return [what for _, what in binding.order]


def _both(chosen: Binding, other: Binding, probe: Probe) -> str:
    what = reconstruction.recognise(probe).name
    return (
        f"By its names it could also be called as {other.describe()}, with {what} for the "
        f"reconstruction term; called as {chosen.describe()} it makes more sense. If the first is "
        "what your training does, that is the mistake."
    )


def _cost(binding: Binding, probe: Probe) -> int:
    """How much of the loss stays unexplained when it is called like this."""
    term = reconstruction.recognise(probe)
    divergence = kl.recognise(probe, binding.scale, lambda *_: True)
    known = divergence.form is not None and divergence.form.name != "none"
    coded = divergence.form is not None and divergence.form.code is not None
    unread = 2 * (term.weight is None or not term.weight) + (term.name == kinds.SWAPPED)
    negative = (term.weight or 0) < 0 or (divergence.weight or 0) < 0
    return unread + (3 if not known else 0) + coded + negative


def _switched_on(
    function: Callable[..., Any], binding: Binding, probe: Probe
) -> tuple[Binding, Probe, list[str]]:
    """Give a number that hides the KL at its default, or has none, a value that shows it."""
    notes = []
    for name, value in binding.weights.items():
        time = wording.is_time(name)
        hidden = not _has_kl(probe.read(probe.point)) and (value == 0 or time)
        if hidden or (time and name in binding.assumed):
            found = _value_that_shows(probe, name, time)
            if found is None or found == value:
                continue
            binding = replace(
                binding,
                weights={**binding.weights, name: found},
                assumed=binding.assumed | {name},
            )
            probe = Probe(function, binding, probe.point.sizes)
            if time and value == 0:
                notes.append(
                    f"At {name}={value:g}, its default, the KL has weight 0 (a warm-up); it was "
                    f"audited at {name}={found:g}."
                )
    return binding, probe, notes


def _has_kl(reading: Reading) -> bool:
    return bool(float(reading.mean.nan_to_num().norm() + reading.scale.nan_to_num().norm()))


def _value_that_shows(probe: Probe, name: str, time: bool) -> float | None:
    best: tuple[float, float] | None = None
    for value in _TIMES if time else (1,):
        try:
            reading = probe.read(probe.point, **{name: value})
        except Exception:  # a schedule that ends
            break
        size = float(reading.mean.nan_to_num().norm() + reading.scale.nan_to_num().norm())
        if best is not None and size and abs(size - best[1]) < 1e-9 * size:
            break
        if size > (0.0 if best is None else best[1]):
            best = value, size
    return None if best is None else best[0]


def effects(binding: Binding, probe: Probe) -> Mapping[str, Effect]:
    """Double every number, or set it to 1 where it is 0, and see which terms it multiplies."""
    base = probe.read(probe.point)
    found = {}
    for name, value in binding.weights.items():
        try:
            other = probe.read(probe.point, **{name: 2 * value or 1})
        except Exception:  # a number that may not be doubled
            continue
        pixels = _factor(other.x_hat, base.x_hat)
        latents = _factor(other.mean, base.mean)
        if not float(base.mean.nan_to_num().norm()):
            latents = _factor(other.scale, base.scale)
        moved = abs(other.value - base.value) > 1e-6 * abs(base.value)
        found[name] = Effect(pixels, latents, moved)
    return found


def _factor(after: Any, before: Any) -> float | None:
    if not float(before.nan_to_num().norm()):
        return 1.0 if not float(after.nan_to_num().norm()) else None
    factor, rest = fit(after, before)
    return factor if rest < 1e-3 else None
