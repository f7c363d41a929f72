"""Texts that stand for objectives, and what these rooms import."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from pyro_vae import objectives


@pytest.mark.parametrize(
    "text",
    [
        "trace",
        "trace:K=5",
        "mean-field",
        "mean-field:K=2",
        "iwae:10",
        "dreg:10",
        "renyi:0.5",
        "renyi:0.5,K=10",
        "renyi:-2",
        "free-bits:0.25",
        "free-bits:0.1,K=3",
        "capacity:25,gamma=100",
        "capacity:25",
        "capacity:0.3,gamma=10,K=2",
    ],
)
def test_text_round_trip(text: str) -> None:
    assert str(objectives.parse(text)) == text


def test_parsed_settings() -> None:
    elbo = objectives.parse("capacity:25, gamma=100, K=3", max_plate_nesting=1)
    assert isinstance(elbo, objectives.CapacityELBO)
    assert (elbo.capacity, elbo.gamma, elbo.num_particles) == (25, 100, 3)
    assert elbo.max_plate_nesting == 2  # the particles' plate included


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("iwea:10", "unknown objective 'iwea': did you mean 'iwae'"),
        ("", "unknown objective ''"),
        ("iwae", "expected a value, as in iwae:K"),
        ("iwae:", "K must be a positive integer up to 999,999, got ''"),
        ("iwae:0", "K must be a positive integer, got 0"),
        ("iwae:-3", "K must be a positive integer up to 999,999, got '-3'"),
        ("dreg:2.5", "K must be a positive integer up to 999,999, got '2.5'"),
        ("dreg:2,K=3", "given twice"),
        ("trace:5", "unexpected '5', accepted: trace and K="),
        ("renyi:1", "alpha must be finite and not 1"),
        ("renyi:nan", "alpha must be finite and not 1"),
        ("renyi:half", "expected a number, got 'half'"),
        ("renyi:0.5,gamma=3", "unexpected 'gamma=3'"),
        ("free-bits:-0.1", "nats must be finite and not negative, got -0.1"),
        ("capacity:inf", "capacity must be finite and not negative, got inf"),
        ("capacity:25,gamma=0", "gamma must be positive and finite, got 0"),
        ("capacity:25,10", "unexpected '10', accepted: capacity:nats,gamma=g and K=, gamma="),
    ],
)
def test_bad_text(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=r".+") as caught:
        objectives.parse(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("module", ["objectives/*.py", "schedules/*.py", "controllers.py"])
def test_imports_nothing_of_ours(module: str) -> None:
    folder = Path(objectives.__file__).parents[1]
    files = [file for file in sorted(folder.glob(module)) if file.name != "parsing.py"]
    assert files
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                assert not any(name.name.startswith("pyro_vae") for name in node.names)
            if isinstance(node, ast.ImportFrom):
                assert node.level <= (file.parent != folder)
                assert not (node.module or "").startswith("pyro_vae")
