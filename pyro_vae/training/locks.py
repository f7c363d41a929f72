"""Locks on folders: one process at a time trains in a run's, or compares in a comparison's."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from pyro_vae import ours
from pyro_vae.errors import InputError

__all__: list[str] = []

_LOCK = ".lock"
TRAINED = "is being trained by {process}"


_MOMENT = 0.5
"""Seconds."""


@contextmanager
def locked(folder: Path, said: str = TRAINED) -> Iterator[None]:
    """Keep other processes from a folder; the system frees it if this one dies, however it does.

    A folder that was made for the lock and in which nothing came to lie is removed in the end.

    Args:
        folder: The folder; made if it is not there.
        said: What is told of it if another process has it, which ``{process}`` stands for.

    Raises:
        InputError: If another process has it, or it cannot be written.
    """
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    before = (folder / _LOCK).exists()
    lock = FileLock(folder / _LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except Timeout:
        raise _taken(folder, said) from None
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror or error}") from None
    try:
        yield
    finally:
        with suppress(OSError):  # the folder is no more
            if made and not before and [path.name for path in folder.iterdir()] == [_LOCK]:
                (folder / _LOCK).unlink()
        lock.release()
        for place in made:
            with suppress(OSError):  # something lies in it
                place.rmdir()


def sign(folder: Path) -> None:
    """Say in the folder's list which process has it, for others to tell."""
    ours.note(folder, process=os.getpid(), host=socket.gethostname())


def check_idle(folder: Path) -> None:
    """Make sure that no process trains in a folder; nothing is touched.

    Raises:
        InputError: If one has.
    """
    if not (folder / _LOCK).is_file():
        return
    lock = FileLock(folder / _LOCK)
    try:
        # Others who ask the same, as all processes of a group do, have it for a moment.
        lock.acquire(timeout=_MOMENT, poll_interval=_MOMENT / 20)
    except Timeout:
        raise _taken(folder, TRAINED) from None
    except OSError:  # who writes will be told
        return
    lock.release()


def _taken(folder: Path, said: str) -> InputError:
    holder = ours.noted(folder, "process") or {}
    process = f"process {holder['process']}" if holder else "another process"
    if holder and holder.get("host") != socket.gethostname():
        process += f" of {holder.get('host')}"
    words = said.format(process=process)
    return InputError(f"{folder} {words}: wait until it is over, or give another folder")
