"""Rows of tables: of text files whose fields some sign sets apart, and of frames."""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyro_vae.data import frames
from pyro_vae.data.containers import is_frame
from pyro_vae.errors import InputError, shown

__all__: list[str] = []

SUFFIXES = (".csv", ".tsv", *frames.SUFFIXES)
"""What names of tables end in."""

_DELIMITERS = (",", ";", "\t", "|")
_LOOKED_AT = 2**16  # characters that the delimiter is read off
_ROWS = 50


@dataclass(frozen=True, eq=False)
class Source:
    """Where a table's rows come from.

    Attributes:
        path: What messages call it.
        delimiter: What sets its fields apart; of frames a comma.
        stream: Each row that is not empty, with the line at which an editor shows it, from 1; the
            names of a frame's columns are row 0.
        headed: Whether the first row has the columns' names for sure.
        categories: Those that the source says of a column, by its name.
    """

    path: str
    delimiter: str
    stream: Iterator[tuple[int, list[str]]]
    headed: bool = False
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def source_of(given: Any) -> Source:
    """The rows of a file, or of a frame of pandas or polars.

    Args:
        given: A path of one of ``SUFFIXES``, or the frame.

    Raises:
        InputError: If the file cannot be read, or nothing is installed that reads it.
    """
    if isinstance(given, str | Path):
        path = Path(os.path.expanduser(given))
        if path.suffix.lower() not in frames.SUFFIXES:
            delimiter = delimiter_of(path)
            return Source(str(path), delimiter, rows(path, delimiter))
        name, frame = str(path), frames.read(path)
    elif is_frame(given):
        name, frame = "the frame", given
    else:
        raise InputError(f"a table is a file or a frame of pandas or polars, got {shown(given)}")
    return Source(name, ",", frames.rows(frame), True, frames.categories(frame))


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
