"""One process trains in a run folder; another is told which, and a dead one holds nothing up."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result
from torch import Tensor

from pyro_vae import InputError, fit, load, save
from pyro_vae.training import History
from pyro_vae.training.progress import Silent

from .models import small

pytestmark = pytest.mark.usefixtures("no_pictures")

LONG = ("--epochs", "1000000", "--hidden", "8", "--latent-dim", "3", "--images", "64")


class Meanwhile(Silent):
    """Does something else after the first step, once."""

    def __init__(self, other: Callable[[], Any]) -> None:
        self.other: Callable[[], Any] | None = other
        self.said: list[str] = []

    def step(self, step: int) -> None:
        """Do it, in a thread of its own, as another process would."""
        other, self.other = self.other, None
        if other is None:
            return

        def refused() -> None:
            try:
                other()
            except InputError as error:
                self.said.append(str(error))

        thread = threading.Thread(target=refused)
        thread.start()
        thread.join()


@pytest.mark.parametrize("what", ["fit", "overwrite", "resume", "save"])
def test_what_is_being_trained_is_left_alone(what: str, few: Tensor, tmp_path: Path) -> None:
    out = tmp_path / "run"
    others: dict[str, Callable[[], Any]] = {
        "fit": lambda: fit(small(), few[:64], epochs=1, out=out),
        "overwrite": lambda: fit(small(), few[:64], epochs=1, out=out, overwrite=True),
        "resume": lambda: fit(small(), few[:64], epochs=3, batch_size=16, out=out, resume=True),
        "save": lambda: save(small(), out),
    }
    told = Meanwhile(others[what])
    history = fit(small(), few[:64], epochs=3, batch_size=16, out=out, progress=told)
    assert len(told.said) == 1
    assert "is being trained by process " in told.said[0]
    assert History.read(out / "metrics.jsonl").records == history.records
    assert len(history.steps) == 12
    # It is free again.
    fit(small(), few[:64], epochs=1, out=out, overwrite=True)


def test_two_that_begin_at_once(few: Tensor, tmp_path: Path) -> None:
    """The second has looked at the folder before there was anything in it."""
    out = tmp_path / "runs" / "run"

    vae = small()
    estimate = vae.estimate

    def slow(*args: Any) -> Any:
        if not (out / "config.json").exists():
            with pytest.raises(InputError, match="is being trained by another process"):
                fit(small(), few[:64], epochs=2, out=out)
        return estimate(*args)

    vae.estimate = slow  # type: ignore[method-assign]
    history = fit(vae, few[:64], epochs=2, out=out)
    assert History.read(out / "metrics.jsonl").records == history.records


def test_a_mistake_leaves_no_folder(few: Tensor, tmp_path: Path) -> None:
    vae = small()

    def wrong(*args: Any) -> Any:
        raise InputError("found only now")

    vae.estimate = wrong  # type: ignore[method-assign]
    with pytest.raises(InputError, match="found only now"):
        fit(vae, few[:64], epochs=1, out=tmp_path / "runs" / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_another_process_is_named_and_a_killed_one_holds_nothing_up(
    cli: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    out = tmp_path / "run"
    program = [str(Path(sys.executable).parent / "pyro-vae"), "fit", *LONG]
    with subprocess.Popen(
        [*program, "--out", str(out), "--checkpoint", "5"], stderr=subprocess.DEVNULL
    ) as process:
        try:
            while not list((out / "checkpoint").glob("step-0*")):
                assert process.poll() is None
                time.sleep(0.02)
            short = ("--epochs", 1, "--hidden", 8, "--latent-dim", 2, "--images", 64)
            for words in (
                (*short, "--out", out),
                (*short, "--out", out, "--overwrite"),
                ("--resume", out),
            ):
                result = cli("fit", *words)
                assert result.exit_code == 2, result.output
                (line,) = result.stderr.splitlines()
                assert f"is being trained by process {process.pid}:" in line
            assert load(out).latent_dim == 3  # but others may look at it
            assert process.poll() is None
        finally:
            process.send_signal(signal.SIGKILL)
    again = cli("fit", *short, "--out", out, "--overwrite")
    assert again.exit_code == 0, again.output
    assert json.loads((out / "config.json").read_text())["fit"]["epochs"] == 1
    steps = [r["step"] for r in History.read(out / "metrics.jsonl").steps]
    assert steps == [1]


def test_every_record_is_there_once(tmp_path: Path) -> None:
    """Two processes asked for the same run: one trains, one is refused, no record is lost."""
    words = ["--epochs", "30", "--hidden", "8", "--latent-dim", "2", "--images", "128"]
    program = [str(Path(sys.executable).parent / "pyro-vae"), "fit", *words]
    both = [
        subprocess.Popen(
            [*program, "--batch-size", "16", "--out", str(tmp_path / "run")],
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    said = [process.communicate()[1] for process in both]
    assert sorted(process.returncode for process in both) == [0, 2], said
    steps = [r["step"] for r in History.read(tmp_path / "run" / "metrics.jsonl").steps]
    assert steps == list(range(1, 241))
    assert torch.isfinite(load(tmp_path / "run").reconstruct(torch.zeros(1, 1, 28, 28))).all()
