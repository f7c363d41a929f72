"""A schedule: β as a pure function of the step, and what it says of a training's length."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

__all__ = ["SHAPES", "Length", "Schedule", "check_length"]


def _logistic(t: float) -> float:
    """The logistic curve from −6 to 6, stretched so that it meets 0 and 1 exactly."""
    return 0.5 * (1 + math.tanh(6 * (t - 0.5)) / math.tanh(3))


SHAPES: dict[str, Callable[[float], float]] = {
    "constant": lambda t: 1.0,
    "linear": lambda t: t,
    "cosine": lambda t: 0.5 * (1 - math.cos(math.pi * t)),
    "sigmoid": _logistic,
    "cyclical": lambda t: t,
}
"""Shapes of a ramp: maps of [0, 1] onto itself."""


@dataclass(frozen=True)
class Length:
    """A stretch of training.

    Args:
        amount: How many, positive; steps are whole numbers.
        unit: ``"steps"`` or ``"epochs"``.

    Raises:
        ValueError: If the amount is not positive and finite, or steps are not whole.
    """

    amount: float
    unit: str = "steps"

    def __post_init__(self) -> None:
        if self.unit not in ("steps", "epochs"):
            raise ValueError(f"a length is in steps or epochs, got {self.unit!r}")
        if not (math.isfinite(self.amount) and self.amount > 0):
            raise ValueError(f"a length must be positive and finite, got {_show(self.amount)}")
        if self.unit == "steps" and self.amount != int(self.amount):
            raise ValueError(f"steps must be a whole number, got {_show(self.amount)}")

    @property
    def steps(self) -> int:
        """The number of steps; ValueError while it is in epochs."""
        if self.unit == "epochs":
            raise ValueError("a schedule in epochs needs in_steps(steps_per_epoch) first")
        return int(self.amount)

    def in_steps(self, steps_per_epoch: int) -> Length:
        """The same length in steps, at least one; ValueError if an epoch has no step."""
        if steps_per_epoch < 1:
            raise ValueError(f"steps_per_epoch must be positive, got {steps_per_epoch}")
        if self.unit == "steps":
            return self
        return Length(max(1, round(self.amount * steps_per_epoch)))


@dataclass(frozen=True)
class Schedule:
    r"""β as a pure function of the step; immutable, compared by value, printed as its own text.

    A ramp goes from one value at step 0 to another at step T and stays there,

    .. math:: \beta(t) = \beta_0 + (\beta_1 - \beta_0)\,s(\min(t / T, 1)),

    with s(t) = t (linear), ½(1 − cos πt) (cosine), or the logistic curve from −6 to 6 stretched to
    meet 0 and 1 (sigmoid). A cyclical schedule (Fu et al. 2019) starts again with each period,
    ramps over a part r of it and then holds,

    .. math:: \beta(t) = \beta_0 + (\beta_1 - \beta_0)\,\min\big((t \bmod T) / (rT),\ 1\big).

    ``parse(str(schedule)) == schedule``.

    Args:
        shape: A name in :data:`SHAPES`.
        start: β₀, not negative.
        end: β₁, not negative.
        length: T; None for a constant.
        ratio: r, in (0, 1]; of a cyclical schedule only.

    Raises:
        ValueError: If a value is out of its range.

    Example:
        >>> from pyro_vae.schedules import parse
        >>> warm_up = parse("linear:0,1,steps=1000")
        >>> [warm_up(step) for step in (0, 250, 1000, 5000)]
        [0.0, 0.25, 1.0, 1.0]
        >>> cycle = parse("cyclical:0,1,period=500,ratio=0.5")
        >>> [cycle(step) for step in (0, 125, 250, 499, 500, 625)]
        [0.0, 0.5, 1.0, 1.0, 0.0, 0.5]
    """

    shape: str
    start: float
    end: float
    length: Length | None = None
    ratio: float = 1.0

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise ValueError(f"a schedule's shape is one of {', '.join(SHAPES)}: {self.shape!r}")
        for value in (self.start, self.end):
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"β must be finite and not negative, got {value}")
        if (self.length is None) != (self.shape == "constant"):
            raise ValueError(f"all schedules but a constant have a length, got {self.length}")
        if self.shape == "constant" and self.start != self.end:
            raise ValueError(f"a constant's ends are the same, got {self.start} and {self.end}")
        if not 0 < self.ratio <= 1:
            raise ValueError(f"ratio must be above 0 and at most 1, got {_show(self.ratio)}")
        if self.ratio != 1 and self.shape != "cyclical":
            raise ValueError(f"only a cyclical schedule has a ratio, got {_show(self.ratio)}")

    def __call__(self, step: int) -> float:
        """β at this step, counted from 0.

        Raises:
            ValueError: If the step is negative, or the schedule is still in epochs.
        """
        if step < 0:
            raise ValueError(f"step must not be negative, got {step}")
        if self.length is None:
            return self.end
        steps = self.length.steps
        if self.shape == "cyclical":
            step %= steps
        # The ends are given back as they are: start + (end − start) may round.
        if step == 0:
            return self.start
        t = step / (self.ratio * steps)
        return self.end if t >= 1 else self.start + (self.end - self.start) * SHAPES[self.shape](t)

    @property
    def final(self) -> float:
        """The value it settles at; of a cyclical schedule the one it holds after each ramp."""
        return self.end

    @property
    def settles_at(self) -> int | None:
        """The first step from which β stays final; None for a cyclical one, which never does."""
        if self.length is None or self.start == self.end:
            return 0
        return None if self.shape == "cyclical" else self.length.steps

    def in_steps(self, steps_per_epoch: int) -> Schedule:
        """The same schedule with its length in steps (itself where there is nothing to do)."""
        if self.length is None:
            return self
        return replace(self, length=self.length.in_steps(steps_per_epoch))

    def __str__(self) -> str:
        if self.length is None:
            return f"constant:{_show(self.end)}"
        text = f"{self.shape}:{_show(self.start)},{_show(self.end)}"
        amount, unit = _show(self.length.amount), self.length.unit
        if self.shape != "cyclical":
            return f"{text},{unit}={amount}"
        return f"{text},period={amount}{'' if unit == 'steps' else unit},ratio={_show(self.ratio)}"


def check_length(schedule: Schedule, total_steps: int) -> str | None:
    """The warning for a schedule that training of this length does not finish.

    Args:
        schedule: A schedule in steps.
        total_steps: Steps of the training.

    Returns:
        One line with the β at the last step, or None where the schedule fits: a ramp that ends
        within the training, a cyclical schedule whose training does not stop inside a ramp.

    Raises:
        ValueError: If the number of steps is not positive, or the schedule is still in epochs.

    Example:
        >>> from pyro_vae.schedules import parse
        >>> check_length(parse("linear:0,1,steps=1000"), 300)
        'linear:0,1,steps=1000 is longer than the 300 steps of training, which ends at β = 0.299'
        >>> check_length(parse("linear:0,1,steps=1000"), 1000)
    """
    if total_steps < 1:
        raise ValueError(f"total_steps must be positive, got {total_steps}")
    if schedule.length is None or schedule.start == schedule.end:
        return None
    last = schedule(total_steps - 1)
    ends = f"the {total_steps} steps of training, which ends at β = {last:.4g}"
    steps = schedule.length.steps
    if steps > total_steps:
        return f"{schedule} is longer than {ends}"
    if schedule.shape == "cyclical" and 0 < total_steps % steps < schedule.ratio * steps:
        return f"{schedule} is inside a ramp at the end of {ends}"
    return None


def _show(value: float) -> str:
    """The shortest text that reads back as the same number."""
    return repr(float(value)).removesuffix(".0")
