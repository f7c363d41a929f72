"""The grammar of schedules: one text for code, command line and config."""

from __future__ import annotations

import difflib
import math
import re

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
