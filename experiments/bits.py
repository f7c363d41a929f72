"""Bits per dimension of every density and every mass, at equal steps, beside the collapsed model.

    python -m experiments.bits --data-root DIR

trains each stock observation that is a likelihood of 8-bit images on 10,000 images of
Fashion-MNIST, its scale learned per pixel where it has one, and prints one table.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import torch

import pyro_vae as pv
from pyro_vae.observations import TABLE, get


def heads() -> dict[str, pv.Head]:
    """Every likelihood of 8-bit images, its learned scale per pixel."""
    found = {}
    for name, entry in TABLE.items():
        head = get(name)
        origins = {param.origin for _, param in head.parameters}
        if entry.group not in ("pixels", "levels") or head.kind == "loss" or "residual" in origins:
            continue
        learned = {key for key, param in head.parameters if param.origin == "learned"}
        found[name] = get(name, scale="pixel") if "scale" in learned else head
    return found


def run(name: str, head: pv.Head, data: pv.data.Data, seed: int, epochs: int) -> dict[str, Any]:
    """One observation, one seed."""
    torch.manual_seed(seed)
    vae = pv.VAE(tuple(data.train.shape[1:]), 20, head)
    history = pv.fit(vae, data.train, epochs=epochs, seed=seed)
    scores = pv.evaluate(vae, data.test)
    return {
        "obs": name,
        "seed": seed,
        "kind": scores["kind"],
        "per_site": round(vae.likelihood.numbers / data.train[0].numel(), 2),
        "steps": len(history.steps),
        "bits_per_dim": round(scores["bits_per_dim"], 4),
        "collapsed": round(scores["collapsed_bits_per_dim"], 4),
        "active_units": scores["active_units"],
    }


@click.command()
@click.option("--data", default="fashion-mnist", show_default=True)
@click.option("--data-root", type=click.Path(path_type=Path))
@click.option("--images", default=10_000, show_default=True, help="Training images.")
@click.option("--held-out", default=1_000, show_default=True)
@click.option("--epochs", default=8, show_default=True)
@click.option("--seed", "seeds", multiple=True, type=int, default=(0, 1, 2), show_default=True)
@click.option(
    "--lines",
    type=click.Path(path_type=Path, exists=True),
    help="Only print the table of runs made before: their JSON lines.",
)
def main(
    data: str,
    data_root: Path | None,
    images: int,
    held_out: int,
    epochs: int,
    seeds: tuple[int, ...],
    lines: Path | None,
) -> None:
    """Print a JSON line per run on stderr, then the table."""
    if lines is not None:
        read = [line for line in lines.read_text().splitlines() if line.startswith("{")]
        click.echo(table([json.loads(line) for line in read]))
        return
    loaded = pv.data.load(data, data_root)
    part = loaded._replace(train=loaded.train[:images], test=loaded.test[:held_out])
    rows = []
    for seed in seeds:
        for name, head in heads().items():
            rows.append(run(name, head, part, seed, epochs))
            click.echo(json.dumps(rows[-1]), err=True)
    click.echo(table(rows))


def table(rows: list[dict[str, Any]]) -> str:
    """Means over seeds, the best first, as Markdown."""
    lines = [
        "| observation | kind | raw numbers per pixel | bits per dimension | collapsed | gain |",
        "|---|---|---|---|---|---|",
    ]
    means = []
    for name in dict.fromkeys(row["obs"] for row in rows):
        own = [row for row in rows if row["obs"] == name]
        bits = torch.tensor([[row["bits_per_dim"], row["collapsed"]] for row in own])
        error = float(bits[:, 0].std()) / len(own) ** 0.5 if len(own) > 1 else float("nan")
        mean, collapsed = bits.mean(0).tolist()
        means.append((mean, name, own[0]["kind"], own[0]["per_site"], error, collapsed))
    for mean, name, kind, per_site, error, collapsed in sorted(means):
        gain = f"{collapsed - mean:.3f}" if mean < collapsed else "**not beaten**"
        lines.append(
            f"| {name} | {kind} | {per_site:g} | {mean:.3f} ± {error:.3f} | {collapsed:.3f} "
            f"| {gain} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
