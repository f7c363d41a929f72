"""Specs: what they come to, and what is said of bad ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pyro_vae import InputError
from pyro_vae.sweeps import read_spec

GRID: dict[str, Any] = {"grid": {"beta": [1, 4]}}


def test_a_grid_is_a_product_and_cells_are_added() -> None:
    spec = read_spec(
        {
            "base": {"latent-dim": 5, "sigma": 0.5, "obs": "normal"},
            "grid": {"beta": [1, 0.25], "net": ["mlp", "conv"]},
            "cells": [{"name": "learned", "obs": "normal-learned-sigma", "sigma-per": "pixel"}],
        }
        | {"base": {"latent-dim": 5}}
    )
    assert [cell.name for cell in spec.cells] == [
        "beta=1,net=mlp",
        "beta=1,net=conv",
        "beta=0.25,net=mlp",
        "beta=0.25,net=conv",
        "learned",
    ]
    assert {cell.config.latent_dim for cell in spec.cells} == {5}
    assert [cell.config.fit.beta for cell in spec.cells] == ["1", "1", "0.25", "0.25", "1"]
    assert spec.cells[4].config.observation.sigma_per == "pixel"


def test_variants_set_several_options_and_grids_add_up() -> None:
    loss = {"mse": {"obs": "normal", "sigma": 0.5}, "bce": {"obs": "bernoulli"}}
    spec = read_spec({"grid": [{"loss": loss}, {"lr": [1e-2]}]})
    assert [cell.name for cell in spec.cells] == ["loss=mse", "loss=bce", "lr=0.01"]
    assert spec.cells[0].config.options["sigma"] == "0.5"
    assert spec.cells[0].labels == {"loss": "mse"}


def test_a_setting_is_laid_over_the_spec() -> None:
    source = {
        **GRID,
        "base": {"epochs": 9, "lr": 0.1},
        "settings": {
            "small": {"base": {"epochs": 2}},
            "large": {"seeds": [3, 4], "grid": {"beta": [2]}},
        },
    }
    small, large = read_spec(source), read_spec(source, "large")
    assert [cell.config.fit.epochs for cell in small.cells] == [2, 2]
    assert small.cells[0].config.fit.lr == 0.1
    assert [cell.name for cell in large.cells] == ["beta=2"]
    assert (small.seeds, large.seeds) == ((0,), (3, 4))


def test_limits() -> None:
    spec = read_spec({"grid": {"lr": [1e-3, 2e-3, 3e-3, 4e-3, 5e-3]}, "seeds": [0, 1, 2]})
    few = spec.limit(max_cells=2, max_steps=10, seeds=1)
    assert [cell.name for cell in few.cells] == ["lr=0.001", "lr=0.003"]
    assert few.seeds == (0,)
    recipe = few.cells[0].config
    assert (recipe.images, recipe.fit.epochs) == (1280, 1)
    assert (spec.limited, few.limited) == (False, True)
    assert spec.limit(max_steps=80).cells[0].config.fit.epochs == 2  # of 36 steps each
    assert not spec.limit(max_cells=9, seeds=9).limited


BAD: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "no cells": ({}, ("no cells", "[grid]")),
    "an unknown key": ({**GRID, "sed": [1]}, ("unknown key 'sed'", "did you mean 'seeds'")),
    "an unknown option": (
        {**GRID, "base": {"latent-dims": 3}},
        ("'latent-dims'", "[base]", "did you mean 'latent_dim'"),
    ),
    "an unknown axis": ({"grid": {"bta": [1]}}, ("'bta'", "did you mean 'beta'")),
    "a wrong type": (
        {**GRID, "base": {"epochs": "ten"}},
        ("epochs must be an integer, got 'ten'",),
    ),
    "a flag that is a number": ({**GRID, "base": {"keep-best": 1}}, ("keep-best", "true or")),
    "an integer that is true": ({**GRID, "base": {"depth": True}}, ("depth must be an integer",)),
    "an axis that is no list": ({"grid": {"beta": 3}}, ("grid.beta", "a list", "got 3")),
    "an empty axis": ({"grid": {"beta": []}}, ("grid.beta is empty",)),
    "an empty grid": ({"grid": {}}, ("[grid] is empty",)),
    "variants named as an option": ({"grid": {"lr": {"a": {"lr": 1}}}}, ("grid.lr", "no option")),
    "two axes of one option": (
        {"grid": {"beta": [1], "loss": {"a": {"beta": 2}}}},
        ("two axes", "beta"),
    ),
    "two cells of one name": (
        {"cells": [{"name": "a", "lr": 0.1}, {"name": "A", "lr": 0.2}]},
        ("two cells", "'A'"),
    ),
    "a value out of range": ({"grid": {"lr": [-1]}}, ("cell lr=-1", "lr must be positive")),
    "an unknown observation": (
        {"grid": {"obs": ["bernouli"]}},
        ("cell obs=bernouli", "did you mean 'bernoulli'"),
    ),
    "a seed in the base": ({**GRID, "base": {"seed": 1}}, ("seed", "seeds = [...]")),
    "no seeds": ({**GRID, "seeds": []}, ("seeds must be a list",)),
    "a seed twice": ({**GRID, "seeds": [1, 1]}, ("seeds must differ",)),
    "a seed that is text": ({**GRID, "seeds": ["1"]}, ("seeds must be a list of integers",)),
    "too many cells": (
        {"grid": {"lr": [1e-4 + i for i in range(40)], "beta": list(range(26))}},
        ("1,040 cells", "--yes"),
    ),
    "no such setting": ({**GRID, "settings": {"tiny": {}}}, ("unknown setting 'small'", "tiny")),
    "a cell that is no table": ({"cells": [3]}, ("[[cells]]", "got 3")),
    "an unknown reference": ({**GRID, "reference": "beta=2"}, ("reference", "beta=2")),
    "an unknown part": ({**GRID, "evaluation": {"parts": ["pca"]}}, ("did you mean 'ppca'",)),
    "an unknown kind": ({**GRID, "pictures": ["men"]}, ("did you mean 'mean'",)),
    "a claim without statement": ({**GRID, "claims": [{}]}, ("statement",)),
    "a claim that selects nothing": (
        {**GRID, "claims": [{"of": {"beta": 2}, "score": "kl", "is": "<", "than": 1}]},
        ("selects no cell: beta=2",),
    ),
    "a claim of an unknown option": (
        {**GRID, "claims": [{"of": {"bea": 2}, "score": "kl", "is": "<", "than": 1}]},
        ("'bea'", "did you mean 'beta'"),
    ),
    "a claim without relation": (
        {**GRID, "claims": [{"of": {}, "score": "kl", "than": 1}]},
        ("needs is",),
    ),
    "an unknown relation": (
        {**GRID, "claims": [{"of": {}, "score": "kl", "is": "=", "than": 1}]},
        ("is must be one of < <= > >= ~",),
    ),
    "likeness without tolerance": (
        {**GRID, "claims": [{"of": {}, "score": "kl", "is": "~", "than": 1}]},
        ("tolerance",),
    ),
}


@pytest.mark.parametrize("case", list(BAD))
def test_bad_specs(case: str) -> None:
    source, expected = BAD[case]
    for claim in source.get("claims", []):
        if claim:
            claim.setdefault("statement", "it is so")
    setting = "small" if "settings" in source else None
    with pytest.raises(InputError) as caught:
        read_spec(source, setting)
    said = str(caught.value)
    assert "\n" not in said
    assert all(part in said for part in expected), said


def test_more_than_a_thousand_cells_need_a_yes() -> None:
    source = {"grid": {"lr": [1e-4 * (i + 1) for i in range(40)], "beta": list(range(26))}}
    assert len(read_spec(source, many=True).cells) == 1040


def test_files_that_are_no_specs(tmp_path: Path) -> None:
    path = tmp_path / "spec.toml"
    with pytest.raises(InputError, match="there is no spec"):
        read_spec(path)
    path.write_text("base = [")
    with pytest.raises(InputError, match="is not TOML"):
        read_spec(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="cannot be read"):
        read_spec(path)


SPECS = sorted((Path(__file__).parents[2] / "experiments" / "specs").glob("*.toml"))
