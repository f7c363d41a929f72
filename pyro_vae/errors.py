"""Exceptions for a user's mistake and a failed training, and words for unknown names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from numbers import Integral

__all__ = ["InputError", "TrainingError"]

_LONGEST = 80
"""Characters of a value in a sentence."""


class InputError(ValueError):
    """A mistake in what the user gave, told in one line: what was given and what is accepted.

    The command line prints it without a traceback and exits with status 2.
    """


class TrainingError(RuntimeError):
    """Training cannot go on, told in one line: what happened, where, and what to change."""


def shown(value: object) -> str:
    """A value as an error's sentence has it: cut short where it is long.

    Example:
        >>> shown("adm"), shown("a" * 1000)[-4:], shown(10**5000)
        ("'adm'", 'aaa…', 'an integer of 16,610 bits')
    """
    if isinstance(value, int) and value.bit_length() > 256:
        # Python refuses to write out integers of more than 4,300 digits.
        return f"an integer of {value.bit_length():,} bits"
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def reason(error: BaseException) -> str:
    r"""Why something failed, in a line: what an error says first, or its kind if that is nothing.

    Example:
        >>> reason(ValueError("no such file\nsee the log")), reason(KeyError())
        ('no such file', 'KeyError')
    """
    lines = [line.strip() for line in str(error).splitlines()]
    return next(filter(None, lines), type(error).__name__)


def positive(**numbers: object) -> None:
    """Make sure that what counts something is a positive integer.

    Args:
        numbers: By the names that the user gave them under.

    Raises:
        InputError: If one is none; it names the first.

    Example:
        >>> positive(hidden=400, depth=2)
        >>> positive(hidden=0)
        Traceback (most recent call last):
        pyro_vae.errors.InputError: hidden must be a positive integer, got 0
    """
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
            raise InputError(f"{name} must be a positive integer, got {shown(value)}")


def unknown(
    what: str,
    given: object,
    accepted: Iterable[str],
    meant: Mapping[str, str] | None = None,
) -> InputError:
    """The error for a name that does not exist, with the nearest one that does.

    Args:
        what: What kind of name it is, as in "observation".
        given: The name that was given.
        accepted: The names that exist.
        meant: What other people's names for them are here.

    Returns:
        The error, to be raised by the caller.

    Example:
        >>> print(unknown("observation", "bernouli", ["bernoulli", "beta"]))
        unknown observation 'bernouli': did you mean 'bernoulli'? Accepted: bernoulli, beta
    """
    names = sorted(accepted)
    near = difflib.get_close_matches(str(given), names, n=1, cutoff=0.5)
    near = [meant[str(given)]] if meant and str(given) in meant else near
    hint = f"did you mean {near[0]!r}? " if near else ""
    return InputError(f"unknown {what} {shown(given)}: {hint}Accepted: {', '.join(names)}")


def unknown_form(what: str, given: str, forms: Mapping[str, str]) -> InputError:
    """As :func:`unknown`, of names that are written with more than the name.

    Args:
        what: What kind of name it is.
        given: The name that was given.
        forms: How each is written, by its name.

    Example:
        >>> print(unknown_form("prior", "vmap", {"vamp": "vamp:N", "flow": "flow:N"}))
        unknown prior 'vmap': did you mean 'vamp'? Accepted: flow:N, vamp:N
    """
    near = difflib.get_close_matches(given, sorted(forms), n=1, cutoff=0.5)
    return unknown(what, given, forms.values(), {given: near[0]} if near else None)
