"""Files of our own: written again, found again, and removed with what they belong to."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pyro_vae as pv
from pyro_vae.metrics import write_evaluation

from .files_of_commands import SMALL, TINY, Run, contents_of, run_of_a_table


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
    run_of_a_table(tmp_path)
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
    before = contents_of(tmp_path)
    result = cli("fit", *SMALL, "--out", "out", "--overwrite")
    assert result.exit_code == (0 if taken else 2), result.output
    after = contents_of(tmp_path)
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
