"""``pyro-vae data FILE``: what is there, before anything is trained on it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import as_json, column_option, declared, echo_json, echo_wrapped, size_options

if TYPE_CHECKING:
    from pyro_vae.data import Column, Data

__all__ = ["show"]

_LABEL, _BAR = 18, 30


@click.command()
@click.argument("data")
@declared("data_root", "download")
@size_options
@column_option
@as_json
def show(
    data: str,
    data_root: Path | None,
    download: bool,
    resize: int | None,
    crop: int | None,
    column: tuple[str, ...],
    as_json: bool,
) -> None:
    """Show what a data set, a FILE or a FOLDER holds, and which observations suit it."""
    from pyro_vae.data import stock
    from pyro_vae.data.inspecting import inspected
    from pyro_vae.data.told import told_words
    from pyro_vae.errors import InputError
    from pyro_vae.training.suiting import suiting

    found = stock.load(data, data_root, download, resize, crop)
    if column and found.table is None:
        raise InputError("--column is for a .csv (.tsv, .parquet) table, whose columns have names")
    said = inspected(found)
    command = _command(data, data_root, download, resize, crop, column)
    if found.table is not None:
        columns, skipped = _columns(found, column)
        said["columns"] = columns
        command += skipped
    else:
        said["suits"] = suiting(found)
        command += _options(said)
    if as_json:
        echo_json({"name": data, **said, "fit": shlex.join(command)})
        return
    echo_wrapped(told_words(found, data), "", "  ")
    rows = _of_table(said) if found.table is not None else _of_images(said)
    for label, text in (*rows, *_duplicates(said), *_suits(said)):
        echo_wrapped(text, f"{label:<{_LABEL}}", " " * _LABEL)
    for line in _next(command):
        click.echo(line)


def _next(words: list[str]) -> Iterator[str]:
    """The command in lines of at most 80 columns, that a shell takes as one."""
    line = "next:"
    for word in map(shlex.quote, words):
        if len(line) + len(word) > 77 and not line.isspace():
            yield f"{line} \\"
            line = "   "
        line += f" {word}"
    yield line


def _command(
    data: str,
    root: Path | None,
    download: bool,
    resize: int | None,
    crop: int | None,
    column: tuple[str, ...],
) -> list[str]:
    """The words of the command that trains on it."""
    given = {"--data-root": root, "--resize": resize, "--crop": crop}
    more = [str(word) for pair in given.items() if pair[1] is not None for word in pair]
    columns = [word for each in column for word in ("--column", each)]
    flag = ["--download"] if download else []
    return ["pyro-vae", "fit", "--data", data, *more, *flag, *columns]


def _options(said: dict[str, Any]) -> list[str]:
    """What fit needs to be told of images, beside where they are."""
    from pyro_vae.config import OPTIONS

    suits = said["suits"]
    if not suits or any(OPTIONS["obs"].default in names for names in suits.values()):
        return []
    group, names = next(iter(suits.items()))
    return ["--obs", names[0], *(["--range", "standardised"] if group == "real" else [])]


def _of_images(said: dict[str, Any]) -> Iterator[tuple[str, str]]:
    whole = "whole " if said["whole"] and not said["levels"] else ""
    yield (
        "values",
        f"mean {said['mean']:.4g}, standard deviation {said['deviation']:.4g}, "
        f"{said['distinct']:,} different {whole}{'levels' if said['levels'] else 'numbers'}",
    )
    looked = said["looked_at"]["train"]
    if looked < said["train"]:
        yield "", f"of {looked:,} training images, spread evenly"
    yield from _histogram(**said["histogram"])
    constant, unit = said["constant"], "pixels" if len(said["shape"]) > 1 else "numbers"
    words = f"{constant['pixels']:,} of {constant['of']:,}"
    yield f"constant {unit}", words + (", the same in every image" if constant["pixels"] else "")
    spread = said["spread"]
    if len(said["shape"]) == 1 and spread is not None and spread > 100:
        yield (
            "columns",
            f"their standard deviations differ by a factor of {spread:,.0f}: save them as a .csv "
            "table, each column of which is standardised",
        )
    flat = said["flat"]
    if flat["images"]:
        yield "of one value", f"{flat['images']:,} in all: {', '.join(flat['some'])}"
    yield "missing entries", "none"


def _histogram(edges: list[float], shares: list[float]) -> Iterator[tuple[str, str]]:
    most = max(shares)
    for i, share in enumerate(shares):
        bar = "#" * round(_BAR * share / most)
        if share and not bar:
            bar = "."
        ends = f"{edges[i]:.4g} to {edges[i + 1]:.4g}"
        yield "" if i else "histogram", f"{ends:<22}{share:6.1%} {bar}"


def _duplicates(said: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for kind, where in (("within", "in one part"), ("between", "between parts")):
        found = said["duplicates"][kind]
        pairs = "; ".join(f"{a} is {b}" for a, b in found["some"][:3])
        words = f"{found['images']:,}{': ' if pairs else ''}{pairs}" if found["images"] else "none"
        yield ("duplicates" if kind == "within" else "", f"{where} {words}")


def _suits(said: dict[str, Any]) -> Iterator[tuple[str, str]]:
    from pyro_vae.observations import GROUPS

    for i, (group, names) in enumerate(said.get("suits", {}).items()):
        yield "" if i else "suits", f"{', '.join(names)} ({GROUPS[group]})"
    pictures = "suits" in said and not said["levels"] and len(said["shape"]) > 1
    if pictures and not 0 <= said["low"] <= said["high"] <= 1:
        ends = ",".join(f"{end:g}" for end in said["range"])
        yield "", f"or normal-learned-sigma with --range={ends}, where the numbers lie"


def _columns(found: Data, given: tuple[str, ...]) -> tuple[list[dict[str, Any]], list[str]]:
    """The columns, and the words that leave out those of which nothing can be made."""
    from pyro_vae.observations import parse_columns

    table = found.table
    named = {text.rpartition("=")[0] for text in given}
    refused = [c for c in table.columns if c.kind == "skip" and c.name not in named]
    skipped = [f"{column.name}=skip" for column in refused]
    left, heads = parse_columns((*given, *skipped), table)
    rows = [_row(column, heads[column.name].title) for column in left.columns]
    rows += [_row(column, None) for column in refused]
    order = {name: i for i, name in enumerate(table.header)}
    rows.sort(key=lambda row: order[row["name"]])
    return rows, [word for text in skipped for word in ("--column", text)]


def _row(column: Column, observation: str | None) -> dict[str, Any]:
    x = column.values[~column.values.isnan()]
    numbers = not column.categories and observation is not None
    return {
        "name": column.name,
        "is": column.kind,
        "missing": column.missing,
        "low": float(x.min()) if numbers else None,
        "high": float(x.max()) if numbers else None,
        "categories": list(column.categories),
        "observation": observation,
        "why": column.refused or None,
    }


def _of_table(said: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "missing entries", f"{said['missing']:.1%}" if said["missing"] else "none"
    for row in said["columns"]:
        yield _shown(row["name"]), _said(row)


def _said(row: dict[str, Any]) -> str:
    missing = f", {row['missing']:.1%} missing" if row["missing"] else ""
    if row["observation"] is None:
        return f"left out: it {row['why']}"
    categories = row["categories"]
    if categories:
        few = ", ".join(map(_shown, categories[:6]))
        where = few if len(categories) <= 6 else f"{few}, … ({len(categories)} in all)"
    else:
        where = f"{row['low']:g} to {row['high']:g}"
    standard = ", standardised" if row["is"] == "real" else ""
    return f"{row['is']}, {where}{missing}: {row['observation']}{standard}"


def _shown(text: str) -> str:
    """A text of a file, cut short, without what would move a terminal's cursor."""
    text = text if text.isprintable() else repr(text)
    return text if len(text) < _LABEL else f"{text[: _LABEL - 2]}…"
