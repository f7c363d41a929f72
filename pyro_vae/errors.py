"""Exceptions for a user's mistake and a failed training, and words for unknown names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["InputError", "TrainingError", "unknown"]


class InputError(ValueError):
    """A mistake in what the user gave, told in one line: what was given and what is accepted.

    The command line prints it without a traceback and exits with status 2.
    """


class TrainingError(RuntimeError):
    """Training cannot go on, told in one line: what happened, where, and what to change."""


def unknown(what: str, given: object, accepted: Iterable[str]) -> InputError:
    """The error for a name that does not exist, with the nearest one that does.

    Args:
        what: What kind of name it is, as in "observation".
        given: The name that was given.
        accepted: The names that exist.

    Returns:
        The error, to be raised by the caller.

    Example:
        >>> print(unknown("observation", "bernouli", ["bernoulli", "beta"]))
        unknown observation 'bernouli': did you mean 'bernoulli'? Accepted: bernoulli, beta
    """
    names = sorted(accepted)
    near = difflib.get_close_matches(str(given), names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return InputError(f"unknown {what} {given!r}: {hint}Accepted: {', '.join(names)}")
