"""The grammar of schedules: one text for code, command line and config."""

from __future__ import annotations

import math
import re

from pyro_vae.errors import unknown
from pyro_vae.texts import TextError, Word, arguments

from .schedule import Length, Schedule

__all__ = ["parse"]


def parse(text: str | float) -> Schedule:
    """Read a schedule from its text.

    Args:
        text: A number or ``name:values,key=value``; :mod:`pyro_vae.schedules` lists all forms.

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
    try:
        return _schedule(Word(text))
    except TextError as error:
        raise ValueError(f"schedule {text!r}, at character {error.at + 1}: {error}") from None


_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_FORMS = {
    "constant": "constant:VALUE",
    "linear": "linear:START,END,steps=N or epochs=N",
    "cosine": "cosine:START,END,steps=N or epochs=N",
    "sigmoid": "sigmoid:START,END,steps=N or epochs=N",
    "cyclical": "cyclical:START,END,period=N or period=Nepochs,ratio=R",
}


def _schedule(text: Word) -> Schedule:
    name, rest = text.pair(":")
    if rest is None and name not in _FORMS:
        if not re.match(r"[-+.0-9]", name) and name.lower() not in ("nan", "inf", "infinity"):
            raise _unknown(name)
        value = _beta(name)
        return Schedule("constant", value, value)
    if name not in _FORMS:
        raise _unknown(name)
    end, form = Word("", text.at + len(text)), f"as in {_FORMS[name]}"
    if rest is None:
        raise end.wrong(f"expected ':', {form}")
    count = 1 if name == "constant" else 2
    accepted = {"constant": (), "cyclical": ("period", "ratio")}.get(name, ("steps", "epochs"))
    values, options = arguments(rest, count, accepted, form)
    ends = [_beta(value) for value in values]
    if len(ends) < count:
        raise end.wrong(f"expected {count} values, {form}")
    if name == "constant":
        return Schedule(name, ends[0], ends[0])
    if name == "cyclical":
        if "period" not in options:
            raise end.wrong(f"period is missing, {form}")
        ratio = _ratio(options["ratio"]) if "ratio" in options else 0.5
        return Schedule(name, ends[0], ends[1], _period(options["period"]), ratio)
    if len(options) != 1:
        raise end.wrong(f"expected one of steps= and epochs=, {form}")
    ((unit, amount),) = options.items()
    return Schedule(name, ends[0], ends[1], _length(amount, unit))


def _unknown(name: Word) -> TextError:
    return name.wrong(str(unknown("schedule", name, ["a number", *_FORMS])))


def _number(word: Word) -> float:
    if word.lower().lstrip("+-") in ("nan", "inf", "infinity"):
        raise word.wrong(f"expected a finite number, got {word!r}")
    if not _NUMBER.fullmatch(word):
        raise word.wrong(f"expected a number, got {word!r}")
    value = float(word)
    if math.isinf(value):
        raise word.wrong(f"expected a finite number, got {word!r}")
    return value


def _beta(word: Word) -> float:
    value = _number(word)
    if value < 0:
        raise word.wrong(f"β must not be negative, got {word}")
    return value + 0.0  # -0 becomes 0


def _length(word: Word, unit: str) -> Length:
    amount = _number(word)
    try:
        return Length(amount, unit)
    except ValueError as error:
        raise word.wrong(str(error)) from None


def _period(word: Word) -> Length:
    for unit in ("epochs", "steps"):
        if word.endswith(unit):
            return _length(Word(word.removesuffix(unit), word.at), unit)
    return _length(word, "steps")


def _ratio(word: Word) -> float:
    value = _number(word)
    if not 0 < value <= 1:
        raise word.wrong(f"ratio must be above 0 and at most 1, got {word}")
    return value
