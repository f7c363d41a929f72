"""No command, and no function, removes or replaces a file that it did not write."""

from __future__ import annotations

import json
import os
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
from PIL import Image

import pyro_vae as pv
from pyro_vae.metrics import classifier_for, write_evaluation
from pyro_vae.metrics.classifier import _key, labelled

Run = Callable[..., Result]
SMALL = ("--epochs", 1, "--hidden", 8, "--latent-dim", 2, "--images", 64)
TINY = {"epochs": 1, "hidden": 8, "latent_dim": 2, "images": 64}
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


def _table(home: Path) -> None:
    """A table, table.csv, and a run of it, tabled."""
    rows = [f"{i % 7},{0.37 * (i % 11)}" if i % 5 else f"{i % 7}," for i in range(40)]
    (home / "table.csv").write_text("\n".join(["visits,height", *rows]) + "\n")
    known = {"epochs": 1, "hidden": 8, "latent_dim": 2}
    pv.training.RunConfig.of(data=str(home / "table.csv"), **known).run(home / "tabled")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Others' files of every name: in a folder of their own, beside a run's, a comparison's."""
    home = tmp_path_factory.mktemp("prepared")
    torch.manual_seed(0)
    vae = pv.VAE((1, 28, 28), 2, "normal", pv.networks.MLP(hidden=8))
    pv.save(vae, home / "saved", data={"name": "mnist-5k", "images": 64})
    _table(home)
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


def _contents(folder: Path) -> dict[str, bytes | None]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


REFUSED = [words for each in WORDS.values() for words in each]


@pytest.mark.parametrize(
    "words", REFUSED, ids=lambda words: " ".join(map(str, words[:1] + words[-3:]))
)
def test_others_files_stay_and_nothing_is_written(
    words: tuple[Any, ...], asked: Run, tmp_path: Path
) -> None:
    before = _contents(tmp_path)
    result = asked(*words)
    assert result.exit_code == 2, (result.output, result.exception)
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert _contents(tmp_path) == before


@pytest.mark.parametrize("name", READING)
def test_what_only_reads_writes_nothing(name: str, asked: Run, tmp_path: Path) -> None:
    (tmp_path / "saved" / "metrics.jsonl").write_text("")
    before = _contents(tmp_path)
    result = asked(*READING[name])
    assert result.exit_code == (3 if name == "audit" else 0), (result.output, result.exception)
    assert _contents(tmp_path) == before


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
    before = _contents(tmp_path)
    with pytest.raises(pv.InputError):
        _in_python("there")[name]()
    assert _contents(tmp_path) == before


def test_save_into_the_folder_of_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.json").write_text('{"name": "my program"}')
    with pytest.raises(pv.InputError, match=r"holds other files \(config\.json\)"):
        _in_python(".")["save"]()
    assert _contents(tmp_path) == {"config.json": b'{"name": "my program"}'}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that every command has written to."""
    home = tmp_path_factory.mktemp("made")
    recipe = pv.training.RunConfig.of(**TINY, obs="normal")
    vae, _, data = recipe.run(home / "run")
    write_evaluation(vae, data.test, pv.evaluate(vae, data.test), home / "run")
    return home


OTHERS = ("notes.txt", "events/hooks.py", "events/step-training/notes.txt", "checkpoint/step-5.pt")


@pytest.mark.parametrize("earlier", [False, True], ids=["with a list", "of an earlier version"])
def test_overwriting_a_run_removes_the_runs_files_alone(
    earlier: bool, made: Path, cli: Run, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(made / "run", tmp_path / "run"))
    if earlier:
        (run / "manifest.jsonl").unlink()
        (run / ".lock").unlink()
    (run / "events" / "step-training").mkdir(parents=True, exist_ok=True)
    old = "events/step-training/events.out.tfevents.1.host.2.3"
    (run / old).write_bytes(b"")
    if not earlier:
        with (run / "manifest.jsonl").open("a") as stream:
            stream.write(json.dumps({"file": old}) + "\n")
    for name in OTHERS:
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text(name)
    result = cli("fit", *SMALL, "--out", "run", "--overwrite", "--seed", 1)
    assert result.exit_code == 0, result.output
    assert json.loads((run / "config.json").read_text())["fit"]["seed"] == 1
    assert {name: (run / name).read_text() for name in OTHERS} == {name: name for name in OTHERS}
    # Figures and pictures of the former weights are gone.
    assert not any((run / name).exists() for name in ("evaluation.json", "latents.png", old))


def test_every_command_may_be_repeated_on_its_own_output(
    made: Path, cli: Run, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(made / "run", tmp_path / "run"))
    for words in (
        ("reconstruct", run),
        ("reconstruct", run, "--out", "r.png"),
        ("sample", run),
        ("sample", run, "--out", "s.png"),
        ("evaluate", run),
        ("obs", "normal", "--plot", "o.png"),
        ("forecast", "--plot", "f.png"),
        ("fit", *SMALL, "--out", run, "--overwrite"),
    ):
        for time in ("first", "second"):
            result = cli(*words)
            assert result.exit_code == 0, (words, time, result.output)
    (tmp_path / "o.png").write_bytes(b"mine")
    assert cli("obs", "normal", "--plot", "o.png").exit_code == 2
    assert cli("obs", "normal", "--plot", "o.png", "--overwrite").exit_code == 0
    # A picture that the user named is the user's.
    assert cli("sample", run, "--out", run / "mine.png").exit_code == 0
    assert cli("fit", *SMALL, "--out", run, "--overwrite").exit_code == 0
    assert (run / "mine.png").is_file()


@pytest.mark.parametrize("name", ["evaluation.json", "latents.png", "samples.png", "mine.txt"])
def test_a_run_of_an_earlier_version_is_evaluated_and_drawn(
    name: str, made: Path, cli: Run, tmp_path: Path
) -> None:
    """Its own files are known by name and content; of the same name a stranger's is refused."""
    run = Path(shutil.copytree(made / "run", tmp_path / "run"))
    (run / "manifest.jsonl").unlink()
    for words in (("evaluate", run), ("sample", run), ("reconstruct", run)):
        assert cli(*words).exit_code == 0
    shutil.rmtree(run)
    shutil.copytree(made / "run", run)
    (run / "manifest.jsonl").unlink()
    (run / name).write_text("of another program")
    status = [cli("evaluate", run).exit_code, cli("sample", run).exit_code]
    assert (run / name).read_text() == "of another program"
    assert status == {"mine.txt": [0, 0], "samples.png": [0, 2]}.get(name, [2, 0])


def test_rows_of_a_runs_table_are_the_runs(cli: Run, tmp_path: Path) -> None:
    """Written again and again, and removed with the run; files that the user named are not."""
    _table(tmp_path)
    names = {"impute": "imputed.csv", "sample": "samples.csv", "reconstruct": "reconstructions.csv"}
    for command, name in names.items():
        for _ in range(2):
            assert cli(command, "tabled").exit_code == 0
        assert cli(command, "tabled", "--out", f"tabled/my-{name}").exit_code == 0
    fit = ("fit", "--data", "table.csv", *SMALL[:-2], "--out", "tabled", "--overwrite")
    result = cli(*fit)
    assert result.exit_code == 0, result.output
    left = {path.name for path in (tmp_path / "tabled").glob("*.csv")}
    assert left == {f"my-{name}" for name in names.values()}


def _link(tmp_path: Path, target: str) -> None:
    (tmp_path / "out").symlink_to(tmp_path / target)


def _file(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")


def _dot(name: str) -> Callable[[Path], None]:
    def make(tmp_path: Path) -> None:
        (tmp_path / "out" / name).mkdir(parents=True)

    return make


def _litter(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
        (tmp_path / "out" / name).write_text(name)


def _linked_inside(tmp_path: Path) -> None:
    """A run whose list and folders lead out of it."""
    pv.save(pv.VAE((1, 28, 28), 2, "normal", pv.networks.MLP(hidden=8)), tmp_path / "out")
    (tmp_path / "out" / "events").symlink_to(tmp_path / "home")
    (tmp_path / "out" / "samples.png").symlink_to(tmp_path / "home" / "diary")


PLACES: dict[str, tuple[Callable[[Path], None], bool]] = {
    "a link to others' files": (lambda tmp_path: _link(tmp_path, "home"), False),
    "a link to nothing": (lambda tmp_path: _link(tmp_path, "nothing"), False),
    "a link to an empty folder": (lambda tmp_path: _link(tmp_path, "empty"), True),
    "a file": (_file, False),
    "a repository": (_dot(".git"), False),
    "a folder in it": (_dot("sub"), False),
    "what systems leave": (_litter, True),
    "links in a run": (_linked_inside, False),
}


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
@pytest.mark.parametrize("name", PLACES)
def test_places_to_write_to(name: str, cli: Run, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "diary").write_text("dear diary")
    (tmp_path / "empty").mkdir()
    make, taken = PLACES[name]
    make(tmp_path)
    before = _contents(tmp_path)
    result = cli("fit", *SMALL, "--out", "out", "--overwrite")
    assert result.exit_code == (0 if taken else 2), result.output
    after = _contents(tmp_path)
    assert {path: after[path] for path in before} == before
    assert taken or after == before


@pytest.mark.parametrize(
    "listed", ["../diary", "sub/../../diary", "{home}/diary", "link/diary", "..\\diary", "."]
)
def test_a_strangers_list_reaches_nothing_outside(listed: str, cli: Run, tmp_path: Path) -> None:
    run = tmp_path / "run"
    pv.save(pv.VAE((1, 28, 28), 2, "normal", pv.networks.MLP(hidden=8)), run)
    for place in (tmp_path, tmp_path / "home"):
        place.mkdir(exist_ok=True)
        (place / "diary").write_text("dear diary")
    if os.name != "nt":
        (run / "link").symlink_to(tmp_path / "home")
    with (run / "manifest.jsonl").open("a") as stream:
        name = listed.format(home=tmp_path / "home")
        stream.write(json.dumps({"file": name}) + "\n[1]\nnull\n{\n" + '{"file": 3}\n')
    assert cli("fit", *SMALL, "--out", "run", "--overwrite").exit_code == 0
    for place in (tmp_path, tmp_path / "home"):
        assert (place / "diary").read_text() == "dear diary"


def _images(folder: Path) -> None:
    for i in range(24):
        path = folder / ("cat", "dog")[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), 10 * i, np.uint8)).save(path)


def test_runs_among_the_images_are_no_images(cli: Run, tmp_path: Path) -> None:
    _images(tmp_path)
    few = ("--epochs", 1, "--hidden", 8, "--latent-dim", 2)
    spec = "[base]\nepochs = 1\nhidden = 8\nlatent-dim = 2\ndata = '.'\n[grid]\nbeta = [1]\n"
    (tmp_path / "spec.toml").write_text(spec)
    for words in (
        ("fit", "--data", ".", *few),
        ("fit", "--data", ".", *few, "--overwrite"),
        ("compare", "spec.toml"),
        ("report", "runs"),
        ("evaluate", "runs/normal-learned-sigma-0"),
        ("fit", "--data", ".", *few, "--seed", 1),
    ):
        result = cli(*words)
        assert result.exit_code == 0, (words, result.output)
    data = pv.data.load(str(tmp_path))
    assert data.train_labels is not None
    assert len(data.train) + len(data.test) == 24
    assert set(data.train_labels.tolist()) == {0, 1}
    # Finished runs are found again: they do not count as a change of the data.
    before = (tmp_path / "comparisons/spec/beta=1/seed-0/result.json").stat().st_mtime_ns
    assert cli("compare", "spec.toml").exit_code == 0
    assert (tmp_path / "comparisons/spec/beta=1/seed-0/result.json").stat().st_mtime_ns == before


def test_runs_of_an_earlier_version_among_flat_images(tmp_path: Path) -> None:
    for i in range(20):
        Image.fromarray(np.full((8, 8), i, np.uint8)).save(tmp_path / f"{i}.png")
    run = pv.save(pv.VAE((1, 8, 8), 2, "normal", pv.networks.MLP(hidden=8)), tmp_path / "runs/a")
    (run / "manifest.jsonl").unlink()
    shutil.copy(tmp_path / "1.png", run / "samples.png")
    data = pv.data.load(str(tmp_path))
    assert len(data.train) + len(data.test) == 20


@pytest.mark.parametrize("out", ["images", "images/run", "images/cat/run", "other/../images/new"])
@pytest.mark.parametrize("data", ["images", "linked"])
def test_out_inside_the_data_is_refused(
    out: str, data: str, mistake: Callable[..., str], tmp_path: Path
) -> None:
    _images(tmp_path / "images")
    (tmp_path / "other").mkdir()
    if os.name != "nt":
        (tmp_path / "linked").symlink_to(tmp_path / "images")
    (tmp_path / "spec.toml").write_text("[base]\ndata = 'images'\n[grid]\nbeta = [1]\n")
    said = mistake("fit", "--data", data, "--out", out, "--overwrite")
    assert "--out" in said
    assert "inside --data" in said
    assert "inside --data" in mistake("compare", "spec.toml", "--out", out)
