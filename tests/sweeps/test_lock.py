"""Two comparisons in one folder: the second is refused, and a killed one holds nothing up."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

import pyro_vae as pv
from pyro_vae.sweeps.runs import claim

BASE = {"hidden": 8, "images": 64, "batch-size": 32, "latent-dim": 2}
LONG: dict[str, Any] = {"base": {**BASE, "epochs": 1_000_000}, "grid": {"beta": [1, 2, 3]}}
SHORT: dict[str, Any] = {"base": {**BASE, "epochs": 1}, "grid": {"beta": [4]}}
SCRIPT = """
import json, sys, pyro_vae as pv
if __name__ == "__main__":
    pv.compare(json.loads(sys.argv[1]), sys.argv[2], workers=int(sys.argv[3]))
"""


@pytest.fixture(params=[1, 2], ids=["one worker", "two workers"])
def under_way(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that compares in the folder ``out`` and does not come to an end."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    words = [json.dumps(LONG), str(tmp_path / "out"), str(request.param)]
    with subprocess.Popen([sys.executable, str(script), *words]) as process:
        try:
            while not list(tmp_path.glob("out/beta=*/seed-0/metrics.jsonl")):
                assert process.poll() is None
                time.sleep(0.02)
            yield process
        finally:
            process.kill()


@pytest.mark.slow
def test_the_second_is_refused_until_the_first_is_killed(
    under_way: subprocess.Popen[bytes], cli: Callable[..., Result], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    (tmp_path / "spec.toml").write_text(
        "[base]\nhidden = 8\nimages = 64\nbatch-size = 32\nlatent-dim = 2\nepochs = 1\n"
        "[grid]\nbeta = [4]\n"
    )
    refused = cli("compare", "spec.toml", "--out", out)
    assert refused.exit_code == 2, refused.output
    assert refused.stdout == ""
    assert refused.stderr.startswith(f"Error: {out} is in use by another comparison")
    assert refused.stderr.count("\n") == 1
    assert not (out / "beta=4").exists()
    assert not (out / "results.csv").exists()
    elsewhere = cli("compare", "spec.toml", "--out", tmp_path / "elsewhere")
    assert elsewhere.exit_code == 0, elsewhere.output
    assert under_way.poll() is None
    under_way.send_signal(signal.SIGKILL if sys.platform != "win32" else signal.SIGTERM)
    under_way.wait()
    at_once = cli("compare", "spec.toml", "--out", out)
    assert at_once.exit_code == 0, at_once.output
    assert (out / "beta=4" / "seed-0" / "result.json").exists()


def test_one_after_the_other_in_one_process(tmp_path: Path) -> None:
    for _ in range(2):
        assert len(pv.compare(SHORT, tmp_path / "out").rows) == 1


def test_two_threads_are_two(tmp_path: Path) -> None:
    said: list[str] = []

    def second() -> None:
        try:
            pv.compare(SHORT, tmp_path)
        except pv.InputError as error:
            said.append(str(error))

    with claim(tmp_path):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert said == [
        f"{tmp_path} is in use by another comparison: wait until it is over, or give another folder"
    ]


def test_a_spec_that_is_refused_makes_no_folder(tmp_path: Path) -> None:
    with pytest.raises(pv.InputError, match="not at hand"):
        pv.compare({**SHORT, "base": {"data": "mnist", "data-root": "."}}, tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []
