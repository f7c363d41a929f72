"""What tests of our own files and of others' have in common."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from click.testing import Result

import pyro_vae as pv

Run = Callable[..., Result]
SMALL = ("--epochs", 1, "--hidden", 8, "--latent-dim", 2, "--images", 64)
TINY = {"epochs": 1, "hidden": 8, "latent_dim": 2, "images": 64}


def run_of_a_table(home: Path) -> None:
    """A table, table.csv, and a run of it, tabled."""
    rows = [f"{i % 7},{0.37 * (i % 11)}" if i % 5 else f"{i % 7}," for i in range(40)]
    (home / "table.csv").write_text("\n".join(["visits,height", *rows]) + "\n")
    known = {"epochs": 1, "hidden": 8, "latent_dim": 2}
    pv.training.RunConfig.of(data=str(home / "table.csv"), **known).run(home / "tabled")


def contents_of(folder: Path) -> dict[str, bytes | None]:
    """By path, None for a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }
