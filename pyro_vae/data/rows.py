"""Rows of text files whose fields a comma, a semicolon, a tab or a bar sets apart."""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pyro_vae.errors import InputError

__all__: list[str] = []

_DELIMITERS = (",", ";", "\t", "|")
_LOOKED_AT = 2**16  # characters that the delimiter is read off
_ROWS = 50


def delimiter_of(path: Path) -> str:
    """What sets the fields apart: with it the first rows have equally many, and most.

    Args:
        path: A file in UTF-8.

    Raises:
        InputError: If it cannot be read, or is not UTF-8.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            text = stream.read(_LOOKED_AT)
            cut = bool(stream.read(1))
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from None

    def fields(delimiter: str) -> tuple[bool, int]:
        reader = _csv(io.StringIO(text, newline=""), delimiter, strict=False)
        widths: list[int] = []
        with contextlib.suppress(csv.Error):  # rows() says where
            widths.extend(len(row) for row in itertools.islice(reader, _ROWS))
        widths = [width for width in (widths[:-1] if cut else widths) if width] or [0]
        return len(set(widths)) == 1 and widths[0] > 1, widths[0]

    return max(_DELIMITERS, key=fields)


def rows(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Each row that is not empty, with the line at which an editor shows it, from 1.

    Args:
        path: A file in UTF-8, with or without a byte order mark.
        delimiter: Between fields.

    Raises:
        InputError: If the file cannot be read, is not UTF-8, or a quote is not closed.
    """
    line = 1
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = _csv(stream, delimiter)
            for row in reader:
                # A row of one field that is blank is an empty line also where it holds spaces.
                if len(row) > 1 or (row and row[0].strip()):
                    yield line, row
                line = reader.line_num + 1
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from None
    except csv.Error as error:
        raise InputError(f"{path} row {line}: {error} (is a quote missing?)") from None


def _csv(lines: Iterable[str], delimiter: str, strict: bool = True) -> Any:
    return csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=strict)


def _unreadable(path: Path, error: OSError | UnicodeDecodeError) -> InputError:
    if isinstance(error, OSError):
        return InputError(f"{path}: {error.strerror or error}")
    return InputError(
        f"{path} is not UTF-8 (byte 0x{error.object[error.start]:02x}): save it as UTF-8"
    )
