"""``pyro-vae obs``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from .options import (
    HEAD_OPTIONS,
    as_json,
    column_option,
    echo_json,
    echo_wrapped,
    head_of,
    parameter_options,
    png_option,
    replace_option,
)

if TYPE_CHECKING:
    from pyro_vae.data import Column
    from pyro_vae.heads import Head
    from pyro_vae.observations import Entry

__all__ = ["obs"]

_FEW, _LONG = 6, 60
"""Categories that are printed, and characters of a text."""


@click.command()
@click.argument("name", required=False)
@png_option(
    "--plot",
    help="Draw its log-density, log-normaliser and mean against its first parameter, and the loss "
    "against the error where σ is the error's own.",
)
@replace_option
@parameter_options
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="TABLE.csv",
    help="List the columns of a table instead: what each is, and the observation that suits it.",
)
@column_option
@as_json
def obs(
    name: str | None,
    plot: Path | None,
    overwrite: bool,
    data: Path | None,
    column: tuple[str, ...],
    as_json: bool,
    **options: Any,
) -> None:
    """List the observations: what each assumes, its parameters, range, levels and kind."""
    from pyro_vae import observations

    if data is not None:
        _check_alone(name)
        _columns(data, column, as_json)
        return
    if column:
        raise click.UsageError("--column needs --data TABLE.csv")
    given = [f"--{_spelt(key)}" for key in ("plot", *HEAD_OPTIONS) if _is_given(key)]
    if name is None and given:
        raise click.UsageError(f"{given[0]} needs the NAME of an observation")
    head = None if name is None else _head(name, options)
    if head is not None and plot is not None:
        _plot(head, plot, overwrite)
    if name is None or head is None:
        rows = [_row(key, entry.head, entry) for key, entry in observations.TABLE.items()]
    else:
        rows = [_row(name, head, observations.TABLE.get(name))]
    if as_json:
        echo_json(rows)
    elif name is None:
        _list(rows)
    else:
        _describe(rows[0])


def _check_alone(name: str | None) -> None:
    given = [f"--{_spelt(key)}" for key in ("plot", *HEAD_OPTIONS) if _is_given(key)]
    given = ["the NAME of an observation", *given] if name is not None else given
    if given:
        raise click.UsageError(f"--data lists a table's columns and does not go with {given[0]}")


def _columns(path: Path, columns: tuple[str, ...], as_json: bool) -> None:
    """The columns of a table, and the observation of each."""
    from pyro_vae.data import read_table
    from pyro_vae.observations import parse_columns

    table, heads = parse_columns(columns, read_table(path))
    rows = [_column_row(column, heads[column.name]) for column in table.columns]
    if as_json:
        echo_json(rows)
        return
    click.echo(f"{path}: {len(table)} rows; --column NAME=OBS changes an observation")
    for row in rows:
        missing = f", {row['missing']:.1%} missing" if row["missing"] else ""
        said = f"{_shown(row['name'])}: {row['is']}, {_range(row)}{missing}"
        echo_wrapped(said, "", "  ")
        echo_wrapped(row["observation"], "  ", "  ")


def _column_row(column: Column, head: Head) -> dict[str, Any]:
    x = column.values[~column.values.isnan()]
    return {
        "name": column.name,
        "is": column.kind,
        "missing": column.missing,
        "low": None if column.categories else float(x.min()),
        "high": None if column.categories else float(x.max()),
        "categories": list(column.categories),
        "observation": head.title,
    }


def _range(row: dict[str, Any]) -> str:
    categories = row["categories"]
    if not categories:
        return f"{row['low']:g} to {row['high']:g}"
    few = ", ".join(map(_shown, categories[:_FEW]))
    return few if len(categories) <= _FEW else f"{few}, … ({len(categories)} in all)"


def _shown(text: str) -> str:
    """A text of a file, cut short, without what would move a terminal's cursor."""
    text = text if text.isprintable() else repr(text)
    return text if len(text) <= _LONG else f"{text[: _LONG - 1]}…"


def _list(rows: list[dict[str, Any]]) -> None:
    """Grouped by the data that they suit."""
    from pyro_vae import observations

    click.echo("`pyro-vae obs NAME` says more; × is a training step's cost against bernoulli's")
    for group, title in observations.GROUPS.items():
        click.echo(f"\n{title}")
        for row in rows:
            if row["group"] == group:
                click.echo(f"  {row['name']}  ({row['kind']}{_times(row)})")
                echo_wrapped(row["assumes"], "    ", "    ")
    others = observations.available().keys() - observations.TABLE.keys()
    if others:
        click.echo("\nof other installed packages")
        for other in sorted(others):
            click.echo(f"  {other}")


def _describe(row: dict[str, Any]) -> None:
    click.echo(f"{row['name']}  ({row['kind']}{_times(row)})")
    if row["assumes"]:
        echo_wrapped(row["assumes"], "  ", "  ")
    parameters = ", ".join(f"{key} {scope}" for key, scope in row["parameters"].items())
    echo_wrapped(f"parameters: {parameters}", "  ", "    ")
    echo_wrapped(f"levels: {row['levels']} ({row['x']})", "  ", "    ")
    if row["range"]:
        echo_wrapped(f"range: {row['range']}", "  ", "    ")


def _times(row: dict[str, Any]) -> str:
    return "" if row["cost"] is None else f", × {row['cost']:.2g}"


def _is_given(key: str) -> bool:
    source = click.get_current_context().get_parameter_source(key)
    return source not in (None, ParameterSource.DEFAULT)


def _spelt(key: str) -> str:
    return key.replace("_", "-")


def _head(name: str, options: dict[str, Any]) -> Head:
    from pyro_vae.errors import InputError

    if options["range"] == "standardised":
        raise InputError("--range standardised depends on the data: give LOW,HIGH here")
    return head_of(name, **options)


def _plot(head: Head, path: Path, overwrite: bool) -> None:
    from pyro_vae import ours
    from pyro_vae.plots import curves_of
    from pyro_vae.plots.observations import draw_observation

    ours.check_picture(path, overwrite)
    draw_observation(curves_of(head), path)
    click.echo(f"drawn in {path}", err=True)


def _row(name: str, head: Head, entry: Entry | None) -> dict[str, Any]:
    import torch

    from pyro_vae import observations
    from pyro_vae.data import levels

    return {
        "name": name,
        "group": entry.group if entry else None,
        "kind": head.kind_on(torch.tensor([100], dtype=torch.uint8)),
        "cost": observations.costs().get(name),
        "assumes": entry.assumes if entry else "",
        "parameters": {key: _words(param) for key, param in head.parameters},
        "range": entry.range if entry else "",
        "levels": head.levels,
        "x": levels.get(head.levels).describe,
    }


def _words(param: Any) -> str:
    if not isinstance(param.scope, str):
        return f"= {param.scope:.4g}"
    sources = {"data": " from the data", "residual": " from the error"}
    return f"per {param.scope}{sources.get(param.origin, '')}"
