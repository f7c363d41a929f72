"""``pyro-vae obs``."""

from __future__ import annotations

from typing import Any

import click

from .options import as_json, echo_json

__all__ = ["obs"]


@click.command()
@click.argument("name", required=False)
@as_json
def obs(name: str | None, as_json: bool) -> None:
    """List the observations: what each assumes, its parameters, range, levels and kind."""
    from pyro_vae import observations
    from pyro_vae.errors import unknown

    if name is not None and name not in observations.TABLE:
        raise unknown("observation", name, observations.TABLE)
    names = [name] if name else list(observations.TABLE)
    rows = [_row(key, observations.TABLE[key]) for key in names]
    if as_json:
        echo_json(rows)
        return
    for row in rows:
        click.echo(f"{row['name']}  ({row['kind']})")
        click.echo(f"  {row['assumes']}")
        parameters = ", ".join(f"{key} {scope}" for key, scope in row["parameters"].items())
        click.echo(f"  parameters: {parameters}")
        click.echo(f"  range: {row['range']}   levels: {row['levels']} ({row['x']})")


def _row(name: str, entry: Any) -> dict[str, Any]:
    from pyro_vae.data import levels

    head = entry.head
    return {
        "name": name,
        "kind": head.kind,
        "assumes": entry.assumes,
        "parameters": {
            key: f"per {param.scope}" if isinstance(param.scope, str) else f"= {param.scope:.4g}"
            for key, param in head.parameters
        },
        "range": entry.range,
        "levels": head.levels,
        "x": levels.get(head.levels).describe,
    }
