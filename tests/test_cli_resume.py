"""Runs that are stopped and taken up again on the command line, and folders of strangers."""

from __future__ import annotations

import json
import pickle
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result
from safetensors.torch import load_file

from pyro_vae import VAE, load, networks, save
from pyro_vae.training import RunConfig

Run = Callable[..., Result]
LONG = ("--epochs", "12", "--hidden", "8", "--latent-dim", "3", "--images", "1000")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The long run, in one go."""
    out = tmp_path_factory.mktemp("whole") / "run"
    RunConfig.of(epochs=12, hidden=8, latent_dim=3, images=1000).run(out)
    return out


def command(*words: str) -> list[str]:
    return [str(Path(sys.executable).parent / "pyro-vae"), "fit", *words]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process without asking it")
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["TERM", "INT"]
)
def test_a_signal_leaves_a_run_that_goes_on(
    number: int,
    status: int,
    whole: Path,
    cli: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", str(torch.get_num_threads()))
    out = tmp_path / "stopped"
    with subprocess.Popen(
        command(*LONG, "--out", str(out), "--checkpoint", "5"), stderr=subprocess.PIPE, text=True
    ) as process:
        while process.poll() is None and len(list((out / "checkpoint").glob("step-*"))) < 2:
            time.sleep(0.01)
        process.send_signal(number)
        assert process.stderr is not None
        said = process.stderr.read()
    assert process.returncode == status, said
    assert f"go on with: pyro-vae fit --resume {out}" in said.replace("\n", "")
    assert load(out).latent_dim == 3
    done = json.loads((out / "config.json").read_text())["fit"]
    assert done["epochs"] == 12
    resumed = cli("fit", "--resume", out)
    assert resumed.exit_code == 0, resumed.output
    assert not (out / "checkpoint").exists()
    for key, value in load_file(whole / "model.safetensors").items():
        assert torch.equal(value, load_file(out / "model.safetensors")[key]), key
    steps = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [r["step"] for r in steps if r["record"] == "step"] == list(range(1, 97))


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    vae = VAE((1, 28, 28), 3, "normal", networks.MLP(hidden=8))
    return save(vae, tmp_path / "run", data={"name": "mnist-5k"}, fit={"epochs": 1})


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--resume", "nowhere"), "there is no run folder nowhere"),
        (("--resume", "run"), "run is finished: there is nothing to resume"),
        (("--resume", "run", "--lr", "1"), "leave out --lr"),
        (("--resume", "."), "is no finished run"),
        (("--checkpoint", "often"), "checkpoint must be"),
        (("--on-nan", "pray"), "unknown on-nan 'pray'"),
        (("--images", "0"), "images must be a positive integer"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_mistakes(
    cli: Run, finished: Path, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    before = contents(tmp_path)
    result = cli("fit", *words)
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert contents(tmp_path) == before


class Executed:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (open, (str(self.path), "w"))


def _config(run: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    config = json.loads((run / "config.json").read_text())
    change(config)
    (run / "config.json").write_text(json.dumps(config))


def _pickled(run: Path) -> None:
    (run / "model.safetensors").write_bytes(pickle.dumps(Executed(run.parent / "executed")))


def _header(run: Path) -> None:
    (run / "model.safetensors").write_bytes(struct.pack("<Q", 10 << 30) + b"{}" * 100)


def _head(run: Path, **parts: Any) -> None:
    _config(run, lambda c: c["vae"]["sites"][1]["head"].update(parts))


def _site(run: Path, number: int, **parts: Any) -> None:
    _config(run, lambda c: c["vae"]["sites"][number].update(parts))


def _module(run: Path) -> None:
    (run.parent / "stranger.py").write_text("open('executed', 'w')\nhead = None\n")
    _head(run, name="stranger:head")


HOSTILE: dict[str, Callable[[Path], Any]] = {
    "pickled weights": _pickled,
    "a header of 10 GB": _header,
    "a dotted path as observation": _module,
    "a path as network": lambda run: _config(run, lambda c: c["vae"]["net"].update(name="../x")),
    "an unknown option of the network": lambda run: _config(
        run, lambda c: c["vae"]["net"].update(evil=1)
    ),
    "a huge network": lambda run: _config(run, lambda c: c["vae"]["net"].update(hidden=10**9)),
    "NaN for a size": lambda run: _site(run, 0, dim=float("nan")),
    "NaN for the range": lambda run: _head(run, interval=[0, float("nan")]),
    "a shape of words": lambda run: _site(run, 1, shape="big"),
    "a negative shape": lambda run: _site(run, 1, shape=[1, -28]),
    "an unknown parameter": lambda run: _head(run, parameters={"evil": {}}),
    "an unknown field": lambda run: _head(run, parameters={"scale": {"evil": 1}}),
    "a list": lambda run: (run / "config.json").write_text("[1, 2]"),
    "nesting": lambda run: (run / "config.json").write_text("[" * 100_000),
    "no text": lambda run: (run / "config.json").write_bytes(b"\xff\xfe\x00\x80" * 9),
}


@pytest.mark.parametrize(
    "words", [("sample",), ("evaluate", "--data", "mnist-5k")], ids=["sample", "evaluate"]
)
@pytest.mark.parametrize("harm", HOSTILE)
def test_a_strangers_folder_is_refused_with_one_line(
    mistake: Callable[..., str], finished: Path, harm: str, words: tuple[str, ...]
) -> None:
    HOSTILE[harm](finished)
    mistake(*words, finished)
    assert "stranger" not in sys.modules


def test_a_data_set_outside_is_only_a_name(cli: Run, finished: Path, tmp_path: Path) -> None:
    """The folder may name a file; it is read as an array, and nothing else."""
    (tmp_path / "secret.npy").write_bytes(pickle.dumps(Executed(tmp_path / "executed")))
    _config(finished, lambda c: c.update(data={"name": str(tmp_path / "secret.npy")}))
    result = cli("evaluate", finished)
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "executed").exists()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on a file's size")
def test_what_cannot_be_written_is_told_and_the_last_checkpoint_stays(
    cli: Run, tmp_path: Path
) -> None:
    """A real refusal by the system: weights fit the limit, those with Adam's moments do not."""
    out = tmp_path / "run"
    sizes = ["--hidden", "100", "--images", "500", "--epochs", "3", "--checkpoint", "2"]
    words = " ".join(command(*sizes, "--out", str(out)))
    result = subprocess.run(
        ["bash", "-c", f"ulimit -f 1000; {words}"], capture_output=True, text=True
    )
    assert result.returncode == 1, result.stderr
    last = result.stderr.splitlines()[-1]
    assert "cannot be written" in last
    assert "File too large" in last
    assert "stopped at step 2 and can be resumed" in last
    assert "Traceback" not in result.stderr
    (kept,) = (out / "checkpoint").iterdir()
    assert kept.name.startswith("step-00000000-")
    assert load(out).latent_dim == 20
    assert cli("fit", "--resume", out).exit_code == 0
    assert not (out / "checkpoint").exists()
