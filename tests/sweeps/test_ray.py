"""Ray as an engine: the same runs bit for bit, through lost workers and lost nodes."""

from __future__ import annotations

import importlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import pyro_vae as pv
from pyro_vae.sweeps.cluster import carry_out_there
from pyro_vae.sweeps.engines import Job
from pyro_vae.sweeps.runs import plan
from pyro_vae.sweeps.spec import read_spec

# Ray itself is imported by the first sweep: what it says is settled by then.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("ray") is None, reason="Ray, of the extra `ray`, is missing"),
    # Ray leaves the pipes and sockets of processes that it has ended to the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning"),
]
PROC = Path("/proc")
needs_proc = pytest.mark.skipif(not PROC.is_dir(), reason="workers are looked for in /proc")
LIMIT = 300
"""Seconds that anything may take here, so that what hangs fails."""
SPEC: dict[str, Any] = {
    "seeds": [0, 1],
    "base": {"hidden": 8, "images": 32, "epochs": 12, "batch-size": 4, "latent-dim": 2},
    "grid": {"beta": [1, 4]},
    "evaluation": {"parts": []},
}
RUNS = 4


@pytest.fixture(autouse=True)
def _limit() -> Iterator[None]:
    def over(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"not over after {LIMIT} s")

    before = signal.signal(signal.SIGALRM, over)
    signal.alarm(LIMIT)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sweep by the local engine."""
    out = tmp_path_factory.mktemp("here") / "out"
    pv.compare(SPEC, out)
    return out


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A cluster on this machine: two nodes of a CPU each, and of a GPU for all that Ray knows."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # A node that is gone is noticed soon, one that answers late on a busy machine is not lost.
        patient = {"health_check_period_ms": 500, "health_check_timeout_ms": 120_000}
        node: dict[str, Any] = {"num_cpus": 1, "num_gpus": 1}
        head = {"include_dashboard": False, "no_monitor": True, "include_log_monitor": False}
        found: Any = Cluster(
            initialize_head=True, head_node_args={**node, **head, "_system_config": patient}
        )
        found.add_node(**node)
        yield found
        found.shutdown()


def _weights(out: Path) -> dict[str, bytes]:
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in out.rglob("model.safetensors")}


def _in_the_middle(out: Path, above: int, do: Callable[[list[int]], object]) -> threading.Thread:
    """Do something once a run is finished and processes below one carry out others."""

    def watch() -> None:
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            if any(out.glob("*/seed-*/result.json")) and (tasks := _tasks(above)):
                do(tasks)
                return
            time.sleep(0.005)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def _tasks(above: int) -> list[int]:
    """Processes that carry out a run and descend from one."""
    found = []
    for folder in PROC.glob("[0-9]*"):
        try:
            title = (folder / "cmdline").read_bytes()
            if title.startswith(b"ray::carry_out_there") and above in _ancestors(folder):
                found.append(int(folder.name))
        except OSError:
            continue  # it has ended
    return found


def _ancestors(folder: Path) -> Iterator[int]:
    while folder.name != "0":
        parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
        folder = PROC / parent
        yield int(parent)


@needs_proc
def test_a_killed_worker_loses_no_cell_and_the_process_stays_as_it_was(
    cli: Callable[..., Any],
    here: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    before, handler = dict(os.environ), signal.getsignal(signal.SIGTERM)
    toml = "seeds = [0, 1]\ngrid = { beta = [1, 4] }\nevaluation = { parts = [] }\n[base]\n"
    toml += "".join(f"{name} = {value}\n" for name, value in SPEC["base"].items())
    (tmp_path / "spec.toml").write_text(toml)
    out, killed = tmp_path / "out", list[int]()

    def kill(tasks: list[int]) -> None:
        killed.append(tasks[0])
        os.kill(killed[0], signal.SIGKILL)

    thread = _in_the_middle(out, os.getpid(), kill)
    result = cli("compare", "spec.toml", "--ray", "auto", "--workers", 2, "--out", "out")
    assert result.exit_code == 0, result.output
    assert not thread.is_alive()
    assert len(killed) == 1
    lines = [line for line in result.stderr.splitlines() if line]
    assert [line.split("/")[0].strip() for line in lines[:-1]] == ["1", "2", "3", "4"]
    assert lines[-1] == "results: out"
    assert capfd.readouterr() == ("", "")
    assert _weights(out) == _weights(here)
    assert not list(out.glob(".ray-*"))
    assert {*os.environ.items()} ^ {*before.items()} == set()
    assert signal.getsignal(signal.SIGTERM) == handler
    assert not importlib.import_module("ray").is_initialized()


def test_a_run_that_no_node_can_carry_out_is_refused(cluster: Any, tmp_path: Path) -> None:
    with pytest.raises(pv.InputError, match="no node has 2 CPUs and a GPU, which beta=1 seed 0"):
        pv.compare(SPEC, tmp_path / "out", ray=cluster.address, threads=2)


@contextmanager
def _free_as_told(cluster: Any) -> Iterator[list[tuple[float, float]]]:
    """CPUs and GPUs that Ray has free, told again and again: what it tells lags behind."""
    told, over = list[tuple[float, float]](), threading.Event()

    def listen() -> None:
        while not over.wait(0.02):
            left = cluster.global_state.available_resources()
            told.append((left.get("CPU", 0), left.get("GPU", 0)))

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield told
    finally:
        over.set()
        thread.join()


@needs_proc
def test_a_node_taken_away_loses_no_cell(cluster: Any, here: Path, tmp_path: Path) -> None:
    out, told = tmp_path / "out", list[str]()
    (second,) = cluster.worker_nodes
    (started,) = second.all_processes["raylet"]
    node = started.process  # on whose end those of its workers follow
    thread = _in_the_middle(out, node.pid, lambda tasks: node.kill())
    with _free_as_told(cluster) as free:
        found = pv.compare(
            SPEC, out, ray=cluster.address, progress=lambda _, message: told.append(message or "")
        )
    assert not thread.is_alive()
    assert node.wait() == -signal.SIGKILL
    # Each run has a CPU and a GPU, and nothing else takes either.
    assert {(2, 2), (0, 0)} <= {*free} <= {(2, 2), (1, 1), (0, 0)}
    ended = [f"{row.cell} seed {row.seed}" for row in found.rows]
    assert sorted(filter(None, told)) == sorted(ended)
    assert [row.fault for row in found.rows] == [None] * RUNS
    assert _weights(out) == _weights(here)


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that takes connections and says nothing."""
    with socket.socket() as there:
        there.bind(("127.0.0.1", 0))
        there.listen()
        yield there.getsockname()[1]


@pytest.fixture
def closed() -> int:
    """A port that takes no connections."""
    with socket.socket() as there:
        there.bind(("127.0.0.1", 0))
        return int(there.getsockname()[1])


@pytest.mark.parametrize("kind", ["silent", "closed"])
def test_an_address_without_ray_is_refused_in_time(
    mistake: Callable[..., str], tmp_path: Path, request: pytest.FixtureRequest, kind: str
) -> None:
    address = f"127.0.0.1:{request.getfixturevalue(kind)}"
    (tmp_path / "spec.toml").write_text("[grid]\nbeta = [1]")
    began = time.monotonic()
    said = mistake("compare", "spec.toml", "--ray", address)
    assert time.monotonic() - began < 15
    assert said == f"Error: --ray {address}: no Ray answers there\n"


@pytest.mark.parametrize("address", ["ray", "10.0.0.1", "ray://10.0.0.1:10001", "host:port"])
def test_what_is_no_address_is_refused(
    mistake: Callable[..., str], tmp_path: Path, address: str
) -> None:
    (tmp_path / "spec.toml").write_text("[grid]\nbeta = [1]")
    said = mistake("compare", "spec.toml", "--ray", address)
    assert f"--ray must be auto or HOST:PORT, got {address!r}" in said


def test_a_ray_that_does_not_start_is_told_in_a_line(
    mistake: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(**options: Any) -> None:
        raise RuntimeError("The node timed out.\n  See the logs")

    monkeypatch.setattr("ray.init", late)
    (tmp_path / "spec.toml").write_text("[grid]\nbeta = [1]")
    said = mistake("compare", "spec.toml", "--ray", "auto")
    assert said == "Error: --ray auto: Ray is not to be had: The node timed out. See the logs\n"


def test_without_ray_its_extra_is_named(
    mistake: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    (tmp_path / "spec.toml").write_text("[grid]\nbeta = [1]")
    assert "pip install 'pyro_vae[ray]'" in mistake("compare", "spec.toml", "--ray", "auto")


def test_a_node_that_does_not_see_the_folder_says_so(tmp_path: Path) -> None:
    (_, run), *_ = plan(read_spec(SPEC), tmp_path / "out")
    job = Job(run, run.config.fingerprint)
    with pytest.raises(pv.InputError, match=r"does not see .*out: .* all nodes share"):
        carry_out_there(job, 1, str(tmp_path), tmp_path / "out" / ".ray-sign")
    assert not (tmp_path / "out").exists()
