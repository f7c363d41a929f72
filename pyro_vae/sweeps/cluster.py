"""Ray as an engine: every run a task, on this machine or on a cluster that is there already.

Nothing is sent anywhere but to the address that was given: no usage statistics, no dashboard.
"""

from __future__ import annotations

import importlib
import logging
import os
import shutil
import signal
import socket
import tempfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import torch

from pyro_vae.errors import InputError
from pyro_vae.sweeps.engines import Job

__all__: list[str] = []

_RETRIES = 3
_PATIENCE = 5.0
"""Seconds that an address may take: Ray itself tries for minutes, and says so line by line."""
_LOST = "|".join(
    [
        "A worker died or was killed",
        "cannot be scheduled",
        "has been marked dead",
        "killed due to",
        "running low on memory",
    ]
)
"""What Ray says on stdout, where results belong, of workers and nodes whose runs begin again."""
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""What a client of HTTP/2, which Ray's is, says first: the preface and empty settings."""
_SETTINGS = 4
"""The kind of frame that a server answers with."""


class Cluster:
    """Ray tasks, each with its CPUs and GPUs; those whose worker is lost are begun again.

    Args:
        address: HOST:PORT of a cluster, of which this machine is a node; or ``auto``, for a Ray of
            this machine alone, which ends with the sweep.
        workers: Runs at a time at most, or None for as many as there are CPUs and GPUs for.
        threads: CPUs of each.
        out: Folder of the comparison; every node must see it under the same path.

    Raises:
        InputError: If Ray is not installed, or none answers at the address.
    """

    def __init__(self, address: str, workers: int | None, threads: int, out: Path) -> None:
        self.ray: Any = _ray()
        # Before anything else, as data may take their time.
        if address != "auto" and not _answers(*_host_and_port(address)):
            raise InputError(f"--ray {address}: no Ray answers there")
        self.address, self.workers, self.threads = address, workers, threads
        self.out = out.absolute()
        self.running: dict[Any, tuple[Job, int]] = {}
        self.possible: set[int] = set()

    def __enter__(self) -> Self:
        if self.ray.is_initialized():
            raise InputError("Ray is in use in this process already: ray.shutdown() comes first")
        with ExitStack() as stack:
            stack.enter_context(_as_before())
            if self.address == "auto":
                self._open(stack)
            else:
                self._join(stack)
            self.gpus = self.ray.cluster_resources().get("GPU", 0)
            self.out.mkdir(parents=True, exist_ok=True)
            self.sign = self.out / f".ray-{uuid.uuid4().hex}"
            self.sign.touch()
            stack.callback(self.sign.unlink, missing_ok=True)
            self.task = self.ray.remote(carry_out_there)
            self.stack = stack.pop_all()
        return self

    def _open(self, stack: ExitStack) -> None:
        """Start a Ray of this machine, in a folder of its own, where no other program finds it."""
        short = "/tmp" if os.name == "posix" else None  # paths of sockets must be short
        folder = tempfile.mkdtemp(prefix="ray-", dir=short)
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.callback(self.ray.shutdown)
        self._init(
            address="local",
            num_cpus=max(os.cpu_count() or 1, (self.workers or 1) * self.threads),
            include_dashboard=False,
            object_store_memory=100 * 2**20,  # nothing but names of files goes through it
            _temp_dir=folder,
            # A machine that computes on all its CPUs answers late, and is no lost node.
            _system_config={"task_oom_retries": _RETRIES, "health_check_timeout_ms": 600_000},
        )

    def _join(self, stack: ExitStack) -> None:
        """Connect to the cluster at the address."""
        stack.callback(self.ray.shutdown)
        self._init(address=self.address)

    def _init(self, **options: object) -> None:
        try:
            self.ray.init(log_to_driver=False, logging_level=logging.CRITICAL, **options)
        except Exception as error:
            said = " ".join(str(error).split())
            raise InputError(f"--ray {self.address}: Ray is not to be had: {said}") from None

    def __exit__(self, *exception: object) -> None:
        self.running.clear()
        self.stack.close()

    def has_room(self, job: Job) -> bool:
        """Whether there are CPUs and GPUs for one more, or as few at work as were asked for."""
        if self.workers is not None:
            return len(self.running) < self.workers
        there = self.ray.cluster_resources()
        gpus = sum(gpus for _, gpus in self.running.values()) + self.gpus_of(job)
        cpus = (len(self.running) + 1) * self.threads
        fits = cpus <= there.get("CPU", 0) and gpus <= there.get("GPU", 0)
        return fits or not self.running

    def gpus_of(self, job: Job) -> int:
        """How many GPUs a run takes: ``auto`` takes one where the cluster has any."""
        device = job.run.config.device
        return int(device == "cuda" or (device == "auto" and self.gpus > 0))

    def start(self, job: Job) -> None:
        """Hand a job to Ray.

        Raises:
            InputError: If no node could carry it out.
        """
        gpus = self.gpus_of(job)
        if gpus not in self.possible:
            self._check(gpus, job.run.name)
            self.possible.add(gpus)
        task = self.task.options(num_cpus=self.threads, num_gpus=gpus, max_retries=_RETRIES)
        there = replace(job, run=replace(job.run, folder=job.run.folder.absolute()))
        reference = task.remote(there, self.threads, os.getcwd(), self.sign)
        self.running[reference] = job, gpus

    def _check(self, gpus: int, name: str) -> None:
        """Complain where Ray would wait for ever; nodes that are lost later may come back."""
        nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        if not any(n.get("CPU", 0) >= self.threads and n.get("GPU", 0) >= gpus for n in nodes):
            wanted = f"{self.threads} CPUs" + (" and a GPU" if gpus else "")
            raise InputError(f"--ray {self.address}: no node has {wanted}, which {name} needs")

    def over(self) -> list[tuple[Job, Path | None]]:
        """Wait for a task to end."""
        (reference, *_), _ = self.ray.wait(list(self.running), num_returns=1)
        job, _ = self.running.pop(reference)
        try:
            return [(job, self.ray.get(reference))]
        except self.ray.exceptions.RayTaskError as error:
            cause = getattr(error, "cause", None)
            raise (cause if isinstance(cause, Exception) else error) from None
        except self.ray.exceptions.RayError:
            return [(job, None)]


def carry_out_there(job: Job, threads: int, where: str, sign: Path) -> Path:
    """Carry out a job on a node, as a worker process of the local engine would here.

    Args:
        job: What to carry out.
        threads: To compute with.
        where: The working folder of the process that started the sweep; relative paths and
            modules of the user's own are looked for there, if the node has it.
        sign: A file in the folder of the comparison.

    Raises:
        InputError: If the node does not see the file.
    """
    if not sign.exists():
        raise InputError(
            f"node {socket.gethostname()} does not see {sign.parent}: with --ray the folder of a "
            "comparison must be on a file system that all nodes share, under one path"
        )
    if os.path.isdir(where):
        os.chdir(where)
    torch.set_num_threads(threads)
    return job.carry_out()


def _ray() -> Any:
    with _environment_as_before():
        # Read when Ray is imported, and never again.
        os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", _LOST)
        try:
            return importlib.import_module("ray")
        except ImportError:
            raise InputError("--ray needs Ray: pip install 'pyro_vae[ray]'") from None


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdecimal():
        raise InputError(f"--ray must be auto or HOST:PORT, got {address!r}")
    return host, int(port)


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), _PATIENCE) as there:
            if os.environ.get("RAY_USE_TLS", "0") != "0":
                return True
            there.sendall(_HELLO)
            with there.makefile("rb") as answer:
                return answer.read(9)[3:4] == bytes([_SETTINGS])
    except OSError:
        return False


@contextmanager
def _as_before() -> Iterator[None]:
    """What Ray changes in this process is put back: signals, its variables in the environment."""
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)
    with _environment_as_before():
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        try:
            yield
        finally:
            if main and handler is not None:
                signal.signal(signal.SIGTERM, handler)


@contextmanager
def _environment_as_before() -> Iterator[None]:
    kept = {name: os.environ[name] for name in _variables()}
    try:
        yield
    finally:
        for name in _variables():
            del os.environ[name]
        os.environ.update(kept)


def _variables() -> list[str]:
    """Those that are Ray's, and the one by which it makes breakpoints its own."""
    return [name for name in os.environ if name.startswith("RAY_") or name == "PYTHONBREAKPOINT"]
