r"""Schedules of β: pure functions of the training step, in one grammar for code, CLI and config.

==========================================  ===================================================
text                                        β
==========================================  ===================================================
``0.5``, ``constant:0.5``                   the same at every step
``linear:0,1,steps=1000``                   from 0 at step 0 to 1 at step 1000, then 1
``cosine:0,1,epochs=10``                    the same ends, flat at both
``sigmoid:0,1,steps=1000``                  the same ends, a logistic curve between them
``cyclical:0,1,period=500,ratio=0.5``       a linear ramp over half of each period, then hold
``cyclical:0,1,period=5epochs,ratio=0.5``   the same, its period in epochs
==========================================  ===================================================

A schedule in epochs is resolved by :meth:`Schedule.in_steps` before it is called.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

__all__ = ["SHAPES", "Length", "Schedule", "check_length", "parse"]


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


def parse(text: str | float) -> Schedule:
    """Read a schedule from its text.

    Args:
        text: A number or ``name:values,key=value``; the module's table lists all forms.

    Returns:
        The schedule; its length may be in epochs.

    Raises:
        ValueError: One line that points at the character (the first is character 1).

    Example:
        >>> parse("linear:0,1,epochs=10").in_steps(40)
        Schedule(shape='linear', start=0.0, end=1.0, length=Length(amount=400, unit='steps'), \
ratio=1.0)
        >>> parse("linear:0,x,steps=1000")
        Traceback (most recent call last):
        ValueError: schedule 'linear:0,x,steps=1000', at character 10: expected a number, got 'x'
    """
    if isinstance(text, int | float):
        return Schedule("constant", float(text), float(text))
    if not isinstance(text, str):
        raise TypeError(f"a schedule is text or a number, got {type(text).__name__}")
    return _Parser(text).schedule()


_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_FORMS = {
    "constant": "constant:VALUE",
    "linear": "linear:START,END,steps=N or epochs=N",
    "cosine": "cosine:START,END,steps=N or epochs=N",
    "sigmoid": "sigmoid:START,END,steps=N or epochs=N",
    "cyclical": "cyclical:START,END,period=N or period=Nepochs,ratio=R",
}
_Token = tuple[str, int]
"""A word and the position of its first character."""


class _Parser:
    """One reading of one text: splits it into words that know their position."""

    def __init__(self, text: str) -> None:
        self.text = text

    def error(self, at: int, message: str) -> ValueError:
        return ValueError(f"schedule {self.text!r}, at character {at + 1}: {message}")

    def strip(self, start: int, end: int) -> _Token:
        word = self.text[start:end]
        return word.strip(), start + len(word) - len(word.lstrip())

    def split(self, start: int) -> list[_Token]:
        tokens = []
        for part in self.text[start:].split(","):
            tokens.append(self.strip(start, start + len(part)))
            start += len(part) + 1
        return tokens

    def schedule(self) -> Schedule:
        colon = self.text.find(":")
        name, at = self.strip(0, len(self.text) if colon < 0 else colon)
        if colon < 0 and name not in _FORMS:
            if not re.match(r"[-+.0-9]", name) and name.lower() not in ("nan", "inf", "infinity"):
                raise self.unknown(name, at)
            value = self.beta((name, at))
            return Schedule("constant", value, value)
        if name not in _FORMS:
            raise self.unknown(name, at)
        if colon < 0:
            raise self.error(len(self.text), f"expected ':', as in {_FORMS[name]}")
        return self.build(name, self.split(colon + 1))

    def unknown(self, name: str, at: int) -> ValueError:
        near = difflib.get_close_matches(name, _FORMS, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        forms = ", ".join(["a number", *_FORMS])
        return self.error(at, f"unknown schedule {name!r}: {hint}Accepted: {forms}")

    def build(self, name: str, tokens: list[_Token]) -> Schedule:
        form = _FORMS[name]
        count = 1 if name == "constant" else 2
        values = [self.beta(token) for token in tokens[:count]]
        if len(values) < count:
            raise self.error(len(self.text), f"expected {count} values, as in {form}")
        accepted = {"constant": (), "cyclical": ("period", "ratio")}.get(name, ("steps", "epochs"))
        options = self.options(tokens[count:], accepted, form)
        if name == "constant":
            return Schedule(name, values[0], values[0])
        if name == "cyclical":
            if "period" not in options:
                raise self.error(len(self.text), f"period is missing, as in {form}")
            ratio = self.ratio(options["ratio"]) if "ratio" in options else 0.5
            return Schedule(name, values[0], values[1], self.period(options["period"]), ratio)
        if len(options) != 1:
            raise self.error(len(self.text), f"expected one of steps= and epochs=, as in {form}")
        ((unit, token),) = options.items()
        return Schedule(name, values[0], values[1], self.length(token, unit))

    def options(
        self, tokens: list[_Token], accepted: tuple[str, ...], form: str
    ) -> dict[str, _Token]:
        options: dict[str, _Token] = {}
        for word, at in tokens:
            key, equals, _ = word.partition("=")
            if key.rstrip() not in accepted or not equals:
                raise self.error(at, f"unexpected {word!r}, as in {form}")
            if key.rstrip() in options:
                raise self.error(at, f"{key.rstrip()} is given twice")
            start = at + len(key) + 1
            options[key.rstrip()] = self.strip(start, at + len(word))
        return options

    def number(self, token: _Token) -> float:
        word, at = token
        if word.lower().lstrip("+-") in ("nan", "inf", "infinity"):
            raise self.error(at, f"expected a finite number, got {word!r}")
        if not _NUMBER.fullmatch(word):
            raise self.error(at, f"expected a number, got {word!r}")
        value = float(word)
        if math.isinf(value):
            raise self.error(at, f"expected a finite number, got {word!r}")
        return value

    def beta(self, token: _Token) -> float:
        value = self.number(token)
        if value < 0:
            raise self.error(token[1], f"β must not be negative, got {token[0]}")
        return value + 0.0  # -0 becomes 0

    def length(self, token: _Token, unit: str) -> Length:
        amount = self.number(token)
        try:
            return Length(amount, unit)
        except ValueError as error:
            raise self.error(token[1], str(error)) from None

    def period(self, token: _Token) -> Length:
        word, at = token
        for unit in ("epochs", "steps"):
            if word.endswith(unit):
                return self.length((word.removesuffix(unit).rstrip(), at), unit)
        return self.length(token, "steps")

    def ratio(self, token: _Token) -> float:
        value = self.number(token)
        if not 0 < value <= 1:
            raise self.error(token[1], f"ratio must be above 0 and at most 1, got {token[0]}")
        return value


def _show(value: float) -> str:
    """The shortest text that reads back as the same number."""
    return repr(float(value)).removesuffix(".0")
