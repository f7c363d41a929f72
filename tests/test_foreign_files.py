"""No command, and no function, removes or replaces a file that it did not write."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

import pyro_vae as pv
from pyro_vae.metrics import classifier_for, write_evaluation
from pyro_vae.metrics.classifier import _key, labelled

from .files_of_commands import SMALL, TINY, Run, contents_of, run_of_a_table

BASE = "".join(f"{name} = {value}\n" for name, value in TINY.items())
SPEC = f"[base]\n{BASE}[grid]\nbeta = [1, 2, 3]\n"

RUN_FILES = (
    *("config.json", "model.safetensors", "metrics.jsonl", "fault.json", "evaluation.json"),
    *("reconstructions.png", "samples.png", "curves.png", "latents.png", "calibration.png"),
    *("traversals.png", "interpolations.png", "kinds.png", "result.json", "failed.json"),
    "diagnosis.json",
    *("checkpoint/step-00000001-0123456789abcdef.safetensors", "checkpoint/.writing-1"),
    *("events/step-training/events.out.tfevents.1.a.2.3", "events/hooks.py", "manifest.jsonl"),
    *("imputed.csv", "samples.csv", "reconstructions.csv"),
)
COMPARISON_FILES = (
    *("results.csv", "results.jsonl", "summary.csv", "differences.csv", "rate_distortion.csv"),
    *("claims.json", "search.json", "by-beta.png", "rate-distortion.png", "machine.json"),
)
PAGE_FILES = (
    *("report.html", "report-figures/training-plan.png", "report-figures/training-elbo.svg"),
    *("picture.png", "rows.csv", "colour-patches.npz"),
)
EVERY = (*RUN_FILES, *COMPARISON_FILES, *PAGE_FILES)


def _commands(group: click.Group, before: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        yield before + name, command
        if isinstance(command, click.Group):
            yield from _commands(command, f"{before}{name} ")


def _main() -> Any:
    (point,) = entry_points(group="console_scripts", name="pyro-vae")
    return point.load()


COMMANDS = dict(_commands(_main()))

WORDS: dict[str, list[tuple[Any, ...]]] = {
    "fit": [
        ("fit", *SMALL, "--out", "there"),
        ("fit", *SMALL, "--out", "there", "--overwrite"),
        ("fit", *SMALL, "--out", "there/sub/../../there", "--overwrite"),
        ("fit", "--resume", "there"),
        ("fit", *SMALL, "--out", "saved", "--overwrite"),
    ],
    "reconstruct": [
        ("reconstruct", "saved"),
        ("reconstruct", "saved", "--out", "there/picture.png"),
        ("reconstruct", "there"),
        ("reconstruct", "tabled"),
        ("reconstruct", "tabled", "--out", "there/rows.csv"),
    ],
    "sample": [
        ("sample", "saved"),
        ("sample", "saved", "--out", "there/picture.png"),
        ("sample", "there"),
        ("sample", "tabled"),
        ("sample", "tabled", "--out", "there/rows.csv"),
    ],
    "impute": [
        ("impute", "tabled"),
        ("impute", "tabled", "--out", "there/rows.csv"),
        ("impute", "tabled", "--data", "table.csv", "--out", "table.csv"),
        ("impute", "there"),
    ],
    "evaluate": [("evaluate", "saved"), ("evaluate", "there"), ("evaluate", "tabled")],
    "diagnose": [("diagnose", "saved"), ("diagnose", "there"), ("diagnose", "tabled")],
    "forecast": [("forecast", "--plot", "there/picture.png")],
    "compare": [
        ("compare", "spec.toml", "--out", "there"),
        ("compare", "spec.toml", "--out", "there", "--overwrite", "--retry"),
        ("compare", "spec.toml", "--out", "saved", "--overwrite"),
        ("compare", "spec.toml", "--out", "comparison", "--overwrite"),
    ],
    "report": [
        ("report", "saved"),
        ("report", "saved", "--overwrite"),
        ("report", "saved", "--out", "there/report.html"),
        ("report", "saved", "--out", "there/report.html", "--overwrite"),
    ],
    "classifier": [("classifier", "own.npz", "--cache", "there")],
    "obs": [("obs", "normal", "--plot", "there/picture.png")],
    "data make": [("data", "make", "colour-patches", "--data-root", "there")],
}
"""What each command that writes is asked to write over others' files."""
READING = {
    "audit": ("audit", "losses.py:loss"),
    "data": ("data", "--data-root", "there"),
}
PATHS = {
    "out": {"fit", "reconstruct", "sample", "impute", "compare", "report"},
    "plot": {"obs", "forecast"},
    "cache": {"classifier", "evaluate"},
    "resume": {"fit"},
    "run": {"reconstruct", "sample", "impute", "evaluate", "diagnose"},
    "runs": {"report"},
    "spec": {"compare"},
    "config": {"fit"},
    "data": {"obs"},
    "data_root": {*COMMANDS} - {"sample", "audit", "compare", "report", "obs"},
}
"""Every option and argument of every command that is a path."""


def test_every_command_is_in_these_tables() -> None:
    """A new command, or a new option that is a path, must say here what it writes."""
    assert WORDS.keys() | READING.keys() == COMMANDS.keys()
    found: dict[str, set[str]] = {}
    for name, command in COMMANDS.items():
        for parameter in command.params:
            if isinstance(parameter.type, click.Path):
                found.setdefault(str(parameter.name), set()).add(name)
    assert found == PATHS


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Others' files of every name: in a folder of their own, beside a run's, a comparison's."""
    home = tmp_path_factory.mktemp("prepared")
    torch.manual_seed(0)
    vae = pv.VAE((1, 28, 28), 2, "normal", pv.networks.MLP(hidden=8))
    pv.save(vae, home / "saved", data={"name": "mnist-5k", "images": 64})
    run_of_a_table(home)
    (home / "spec.toml").write_text(SPEC)
    pv.compare({"base": TINY, "grid": {"beta": [7]}, "pictures": ["mean"]}, home / "comparison")
    for path in (home / "comparison").iterdir():
        if path.name in COMPARISON_FILES:
            path.unlink()
    (home / "comparison" / "manifest.jsonl").write_text(
        '{"pyro_vae": "", "folder": "comparison"}\n'
    )
    levels = np.random.default_rng(0).integers(0, 256, (40, 1, 8, 8), np.uint8)
    labels = np.arange(40) % 2
    arrays = {"train": levels[:30], "train_labels": labels[:30]}
    np.savez(home / "own.npz", **arrays, test=levels[30:], test_labels=labels[30:])
    key = _key(labelled(pv.data.load(str(home / "own.npz"))))
    cached = (f"{key}.json", f"{key}.safetensors")
    (home / "losses.py").write_text(
        "def loss(x, x_hat, mean, log_var):\n    return ((x - x_hat) ** 2).sum()\n"
    )
    for folder in ("there", "saved", "comparison", "tabled"):
        for name in (*EVERY, *cached):
            path = home / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                path.write_bytes(f"of another program: {name}".encode())
    return home


@pytest.fixture
def asked(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run a command among copies of these files."""
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True, symlinks=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    return lambda *words: CliRunner().invoke(_main(), [str(word) for word in words])


REFUSED = [words for each in WORDS.values() for words in each]


@pytest.mark.parametrize(
    "words", REFUSED, ids=lambda words: " ".join(map(str, words[:1] + words[-3:]))
)
def test_others_files_stay_and_nothing_is_written(
    words: tuple[Any, ...], asked: Run, tmp_path: Path
) -> None:
    before = contents_of(tmp_path)
    result = asked(*words)
    assert result.exit_code == 2, (result.output, result.exception)
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert contents_of(tmp_path) == before


@pytest.mark.parametrize("name", READING)
def test_what_only_reads_writes_nothing(name: str, asked: Run, tmp_path: Path) -> None:
    (tmp_path / "saved" / "metrics.jsonl").write_text("")
    before = contents_of(tmp_path)
    result = asked(*READING[name])
    assert result.exit_code == (3 if name == "audit" else 0), (result.output, result.exception)
    assert contents_of(tmp_path) == before


def _in_python(folder: str) -> dict[str, Callable[[], Any]]:
    torch.manual_seed(0)
    vae = pv.VAE((1, 28, 28), 2, "normal", pv.networks.MLP(hidden=8))
    images = pv.data.load("mnist-5k").train[:64]
    spec = {"base": TINY, "grid": {"beta": [1]}}
    return {
        "save": lambda: pv.save(vae, folder),
        "fit": lambda: pv.fit(vae, images, epochs=1, out=folder),
        "fit over": lambda: pv.fit(vae, images, epochs=1, out=folder, overwrite=True),
        "resume": lambda: pv.fit(vae, images, epochs=1, out=folder, resume=True),
        "recipe": lambda: pv.training.RunConfig.of(**TINY).run(folder, overwrite=True),
        "evaluation": lambda: write_evaluation(vae, images, {"kind": "density"}, folder),
        "compare": lambda: pv.compare(spec, folder, overwrite=True),
        "report": lambda: pv.report("saved", out=f"{folder}/report.html", overwrite=True),
        "classifier": lambda: classifier_for(pv.data.load("own.npz"), folder),
    }


@pytest.mark.parametrize("name", _in_python("there"))
def test_functions_keep_others_files(name: str, asked: Run, tmp_path: Path) -> None:
    before = contents_of(tmp_path)
    with pytest.raises(pv.InputError):
        _in_python("there")[name]()
    assert contents_of(tmp_path) == before


def test_save_into_the_folder_of_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.json").write_text('{"name": "my program"}')
    with pytest.raises(pv.InputError, match=r"holds other files \(config\.json\)"):
        _in_python(".")["save"]()
    assert contents_of(tmp_path) == {"config.json": b'{"name": "my program"}'}
