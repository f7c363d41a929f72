"""The command as users run it, through its installed entry point."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result
from pyro_vae_cli.fit import _tell_best

from pyro_vae import History, load, observations

Run = Callable[..., Result]
QUICK = ("--epochs", 1, "--hidden", 8, "--latent-dim", 3)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder as fit writes it."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    script = shutil.which("pyro-vae", path=str(Path(sys.executable).parent))
    assert script is not None
    words = [script, "fit", *map(str, QUICK), "--out", str(folder)]
    result = subprocess.run(words, capture_output=True, text=True, check=True)
    assert result.stdout == ""
    assert "epoch" in result.stderr
    return folder


@pytest.fixture
def run_folder(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def test_fit_writes_a_run_and_prints_json(cli: Run, tmp_path: Path) -> None:
    result = cli("fit", *QUICK, "--obs", "bernoulli", "--json")
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert Path(said["run"]) == Path("runs/bernoulli-0")
    assert said["held_out"]["objective"] < 0
    assert load(tmp_path / "runs" / "bernoulli-0").obs.title == "bernoulli"


def epochs_of(scores: list[float]) -> list[dict[str, Any]]:
    """Held-out records of these scores."""
    own = {"record": "epoch", "split": "held-out", "beta": 1.0}
    return [{**own, "epoch": epoch, "elbo": score} for epoch, score in enumerate(scores, 1)]


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        (
            [-3.0, 1234.56, 7.0, 8.0, 1.0, 1.0, 2.0],
            "best held-out elbo: 1,234.6 at epoch 2 (--keep-best ends there)\n",
        ),
        ([-3.0, 7.0, 1234.56, 8.0, 1.0, 1.0, 2.0], ""),
        ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], ""),
        ([-2.61, -2.58, -2.63, -2.63, -2.63, -2.63, -2.63], ""),
        ([], ""),
    ],
)
def test_the_best_epoch_is_told_where_it_is_long_past(
    scores: list[float], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = epochs_of(scores)
    _tell_best(History(kind="density", records=rows), kept=False)
    assert capsys.readouterr().err == said
    rising = [{**row, "beta": row["epoch"] / len(rows)} for row in rows]
    _tell_best(History(kind="density", records=rising), kept=False)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        (
            [-3.0, 7.0, 1234.56, 8.0],
            "best validation elbo: 1,234.6 at epoch 3, whose weights are kept\n",
        ),
        ([1.0, 2.0, 3.0], ""),
        ([], ""),
    ],
)
def test_the_epoch_whose_weights_are_kept_is_told_where_it_is_not_the_last(
    scores: list[float], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = epochs_of(scores)
    _tell_best(History(kind="density", records=rows, part="validation"), kept=True)
    assert capsys.readouterr().err == said


def test_the_lines_of_fit_fit_80_columns(trained: Path) -> None:
    script = Path(sys.executable).parent / "pyro-vae"
    words = [script, "fit", *map(str, QUICK), "--out", str(trained.parent / "wide")]
    result = subprocess.run(words, capture_output=True, text=True, check=True)
    table = [line for line in result.stderr.splitlines() if "|" in line]
    assert len(table) == 2
    assert all(len(line) <= 80 for line in table)


def test_evaluate(cli: Run, run_folder: Path) -> None:
    scores = json.loads(cli("evaluate", run_folder, "--json").stdout)
    assert scores["images"] == 500
    printed = cli("evaluate", run_folder).stdout
    assert f"{scores['elbo']:.2f} nats per image" in printed
    assert all(len(line) <= 80 for line in printed.splitlines())
    assert cli("evaluate", run_folder, "--json").stdout == json.dumps(scores, indent=2) + "\n"


def test_pictures(cli: Run, run_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "kinds.png"
    kinds = ("--kind", "mean", "--kind", "mode", "--kind", "sample", "--kind", "parameter")
    result = cli("reconstruct", run_folder, *kinds, "--out", out)
    assert result.exit_code == 0, result.output
    assert out.read_bytes().startswith(b"\x89PNG")
    assert cli("sample", run_folder, "--kind", "sample").exit_code == 0


def test_obs_lists_every_observation(cli: Run) -> None:
    printed = cli("obs").stdout
    assert all(f"{name}  (" in printed for name in observations.TABLE)
    assert all(len(line) <= 100 for line in printed.splitlines())
    rows = json.loads(cli("obs", "--json").stdout)
    assert {row["name"]: row["kind"] for row in rows}["bernoulli"] == "loss"


def test_data_says_what_is_at_hand(cli: Run) -> None:
    rows = {row["name"]: row for row in json.loads(cli("data", "--json").stdout)}
    assert rows["mnist-5k"]["at hand"] == "in this package"
    assert "fashion-mnist" in cli("data").stdout


def test_param_and_its_short_forms_agree(cli: Run, tmp_path: Path) -> None:
    for i, words in enumerate(
        (("--sigma-per", "pixel"), ("--param", "scale=pixel"), ("--param", "scale=pixel,floor=0.2"))
    ):
        result = cli("fit", *QUICK, *words, "--out", tmp_path / str(i))
        assert result.exit_code == 0, result.output
    floors = [load(tmp_path / str(i)).decode(torch.zeros(1, 3)).base_dist.scale for i in range(3)]
    assert torch.equal(floors[0], floors[1])
    assert floors[2].min() >= 0.2


def test_help_and_version(cli: Run) -> None:
    assert cli("--version").stdout == f"pyro-vae, version {version('pyro_vae')}\n"
    (point,) = entry_points(group="console_scripts", name="pyro-vae")
    for name, command in point.load().commands.items():
        printed = cli(name, "--help")
        assert printed.exit_code == 0
        assert command.help
        for parameter in command.params:
            if parameter.param_type_name == "option" and parameter.name != "help":
                assert getattr(parameter, "help", None), f"{name} {parameter.name} has no help"


def test_help_does_not_import_torch() -> None:
    code = (
        "import sys\n"
        "from pyro_vae_cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "assert not {'torch', 'pyro', 'numpy', 'matplotlib', 'rich'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


MISTAKES: dict[str, tuple[tuple[object, ...], tuple[str, ...]]] = {
    "an unknown command": (("fitt",), ("fitt",)),
    "an unknown option": (("fit", "--epoch", 3), ("--epoch",)),
    "an unknown observation": (("fit", "--obs", "bernouli"), ("did you mean 'bernoulli'",)),
    "sigma 0": (("fit", "--sigma", 0), ("--sigma must be positive, got 0",)),
    "sigma -1": (("fit", "--sigma", -1), ("--sigma must be positive, got -1",)),
    "sigma nan": (("fit", "--sigma", "nan"), ("--sigma must be positive",)),
    "sigma inf": (("fit", "--sigma", "inf"), ("must be finite",)),
    "sigma for bernoulli": (
        ("fit", "--obs", "bernoulli", "--sigma", 1),
        ("unknown bernoulli parameter 'scale'",),
    ),
    "a word for sigma": (("fit", "--sigma", "big"), ("--sigma", "'big'")),
    "two sigmas": (("fit", "--sigma", 1, "--sigma-per", "pixel"), ("--sigma-per",)),
    "an unknown scope": (("fit", "--sigma-per", "pixle"), ("did you mean 'pixel'",)),
    "an unknown parameter": (("fit", "--param", "scal=1"), ("did you mean 'scale'",)),
    "param without value": (("fit", "--param", "scale"), ("NAME=VALUE",)),
    "param of no scope": (("fit", "--param", "scale=imge"), ("did you mean 'image'",)),
    "a floor of 0": (("fit", "--param", "scale=pixel,floor=0"), ("floor must be positive",)),
    "an unknown link": (("fit", "--param", "scale=pixel,link=expo"), ("did you mean 'exp'",)),
    "binarise a density": (("fit", "--binarise", "threshold"), ("--binarise",)),
    "negative beta": (("fit", "--beta", -1), ("beta",)),
    "latent dim 0": (("fit", "--latent-dim", 0), ("latent-dim must be a positive integer, got 0",)),
    "epochs 0": (("fit", "--epochs", 0), ("epochs must be a positive integer, got 0",)),
    "no such network": (("fit", "--net", "cnn"), ("unknown network",)),
    "no such data": (("fit", "--data", "mnist5k"), ("did you mean 'mnist-5k'",)),
    "data not at hand": (("fit", "--data", "mnist", "--data-root", "."), ("--download",)),
    "a missing run": (("evaluate", "nothing"), ("there is no run folder nothing",)),
    "a missing run to draw": (("sample", "nothing"), ("there is no run folder nothing",)),
    "an unknown kind": (("sample", "nothing", "--kind", "man"), ("--kind",)),
    "no pictures": (("reconstruct", "nothing", "--count", 0), ("--count",)),
    "no such observation to list": (("obs", "normla"), ("did you mean 'normal'",)),
    "weights beyond memory": (("fit", "--latent-dim", 10**9), ("weights take", "latent-dim")),
    "an endless checkpoint": (("fit", "--checkpoint", "infs"), ("checkpoint must be",)),
    "too many processes": (("fit", "--workers", 10**6), ("workers must be at most 1,024",)),
    "an endless size": (("fit", "--data", ".", "--resize", 10**400), ("resize must be at most",)),
    "endless latents": (("forecast", "--latent-dim", 10**30), ("--latent-dim",)),
    "endless pictures": (("sample", "nothing", "--count", 10**30), ("--count",)),
    "an endless seed": (("sample", "nothing", "--seed", 10**30), ("--seed",)),
    "an endless batch to audit": (("audit", "a.py:f", "--batch-size", 10**30), ("--batch-size",)),
    "a long name of data": (("fit", "--data", "x" * 400), ("unknown data set",)),
    "a long name of a run": (("sample", "x" * 400), ("File name too long",)),
    "a long number of an option": (("fit", "--images", "9" * 5000), ("--images",)),
    "an empty value": (("fit", "--out", ""), ("--out is empty",)),
    "an empty value after =": (("fit", "--data="), ("--data is empty",)),
    "an empty argument": (("sample", ""), ("after 'sample' is empty",)),
}
COUNTS = (
    "images", "latent-dim", "hidden", "depth", "epochs", "batch-size", "accumulate", "lr-warm-up",
    "patience", "keep-checkpoints", "workers", "seed", "resize", "crop",
)  # fmt: skip


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("digits", [31, 400])
def test_no_count_is_endless(mistake: Callable[..., str], name: str, digits: int) -> None:
    said = mistake("fit", f"--{name}", "1" * digits)
    assert name in said
    assert len(said) < 700


@pytest.mark.parametrize("out", ["file/run", "file", "x" * 400], ids=["below", "file", "long"])
def test_a_folder_that_cannot_be_made_is_told_before_training(
    out: str, mistake: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    said = mistake("fit", "--data", "there-is-none", "--out", tmp_path / out)
    assert "unknown data set" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="a file system that takes no folders")
def test_a_file_system_that_takes_nothing(mistake: Callable[..., str]) -> None:
    assert "cannot be written" in mistake("fit", "--out", "/proc/run/one")


@pytest.mark.parametrize("words", [("data",), ("obs",)], ids=" ".join)
def test_lists_fit_80_columns(cli: Run, words: tuple[str, ...]) -> None:
    lines = cli(*words).stdout.splitlines()
    assert len(lines) > 20
    assert [line for line in lines if len(line) > 80] == []


def test_memory_that_runs_out_is_told_in_one_line(
    cli: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 1 byte")

    monkeypatch.setattr("pyro_vae.load", refuse)
    result = cli("sample", "nothing")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: memory does not hold it: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("case", list(MISTAKES))
def test_mistakes(mistake: Callable[..., str], case: str) -> None:
    words, expected = MISTAKES[case]
    said = mistake(*words)
    assert all(part in said for part in expected), said


def test_a_folder_that_holds_a_run_is_refused(
    mistake: Callable[..., str], cli: Run, run_folder: Path
) -> None:
    assert "--overwrite" in mistake("fit", *QUICK, "--out", run_folder)
    assert cli("fit", *QUICK, "--out", run_folder, "--overwrite").exit_code == 0


@pytest.mark.parametrize("command", ["evaluate", "reconstruct", "sample"])
def test_a_half_written_run_is_refused(
    mistake: Callable[..., str], run_folder: Path, command: str
) -> None:
    (run_folder / "config.json").unlink()
    assert "no finished run" in mistake(command, run_folder)


def test_a_newer_run_is_refused(mistake: Callable[..., str], run_folder: Path) -> None:
    config = json.loads((run_folder / "config.json").read_text())
    (run_folder / "config.json").write_text(json.dumps({**config, "format": 2**31}))
    assert "upgrade pyro_vae" in mistake("evaluate", run_folder)


def test_a_run_whose_data_are_gone_asks_for_them(
    mistake: Callable[..., str], run_folder: Path
) -> None:
    config = json.loads((run_folder / "config.json").read_text())
    (run_folder / "config.json").write_text(json.dumps({**config, "data": None}))
    assert "--data" in mistake("evaluate", run_folder)
