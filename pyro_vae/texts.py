"""The one grammar of texts that stand for objects: ``name``, ``name:value,key=value``.

A text is taken apart into words, which know where they stand; what they mean says who takes them.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Self

from pyro_vae.errors import InputError

__all__: list[str] = []


class TextError(InputError):
    """What is wrong with a text, and the place of the first character that is.

    Attributes:
        at: The place, from 0.
    """

    def __init__(self, message: str, at: int) -> None:
        super().__init__(message)
        self.at = at


class Word(str):
    """A part of a text, without the blanks around it.

    Attributes:
        at: The place of its first character in the text.

    Example:
        >>> name, rest = Word("capacity: 25, gamma = 100").pair(":")
        >>> name, rest.parts(), rest.parts()[1].at
        ('capacity', ['25', 'gamma = 100'], 14)
        >>> Word("trace").pair(":")
        ('trace', None)
    """

    at: int

    def __new__(cls, text: str, at: int = 0) -> Self:
        word = super().__new__(cls, text.strip())
        word.at = at + len(text) - len(text.lstrip())
        return word

    def pair(self, sign: str, last: bool = False) -> tuple[Self, Self | None]:
        """What is before the first sign, or the last, and what is after it, or None."""
        found = self.rfind(sign) if last else self.find(sign)
        if found < 0:
            return self, None
        return self._part(0, found), self._part(found + len(sign), len(self))

    def parts(self, sign: str = ",") -> list[Self]:
        """What is between the signs."""
        found, start = [], 0
        for part in self.split(sign):
            found.append(self._part(start, start + len(part)))
            start += len(part) + len(sign)
        return found

    def _part(self, start: int, end: int) -> Self:
        return type(self)(self[start:end], self.at + start)

    def wrong(self, message: str) -> TextError:
        """The error that points at it."""
        return TextError(message, self.at)


def arguments(
    rest: Word | None, values: int, keys: Sequence[str], accepted: str
) -> tuple[list[Word], dict[str, Word]]:
    """What stands behind a name: values, and then ``key=value`` in any order.

    Args:
        rest: All of it; None for nothing.
        values: How many values there may be at most.
        keys: The keys that there are.
        accepted: What is accepted, for messages.

    Raises:
        TextError: If there is another word or a key comes twice.

    Example:
        >>> arguments(Word("25, gamma=100"), 1, ["gamma", "K"], "")
        (['25'], {'gamma': '100'})
    """
    alone: list[Word] = []
    options: dict[str, Word] = {}
    for word in [] if rest is None else rest.parts():
        key, value = word.pair("=")
        if value is None and not options and len(alone) < values:
            alone.append(word)
        elif value is None or key not in keys:
            near = difflib.get_close_matches(key, [] if value is None else keys, 1, 0.5)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise word.wrong(f"unexpected {str(word)!r}, {hint}{accepted}")
        elif key in options:
            raise word.wrong(f"{key} is given twice")
        else:
            options[key] = value
    return alone, options
