"""Files that are never half there, and folders that can be written."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pyro_vae.errors import InputError

__all__: list[str] = []


def expanded(path: str | Path) -> Path:
    """A path whose ``~`` is the user's folder; one of a user who is not known stays as it is."""
    return Path(os.path.expanduser(path))


def check_writable(out: str | Path) -> Path:
    """Make sure that a folder is there and takes files, or can be made; nothing is left in it.

    Raises:
        InputError: If it cannot be written; it says why.
    """
    folder = expanded(out)
    if ".." in folder.parts and not folder.exists():
        folder = folder.resolve()  # its parents are made, but no others on the way
    try:
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder} is a file, not a folder")
        there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
        # Permissions do not tell: some file systems take nothing even of who may write.
        with tempfile.TemporaryDirectory(dir=there, prefix=".pyro-vae-"):
            pass
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror}") from None
    return folder


@contextmanager
def in_utf8(path: Path) -> Iterator[Path]:
    """A path by which a file is found whose own is no UTF-8, which safetensors does not read."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        with tempfile.TemporaryDirectory(prefix="pyro-vae-") as folder:
            link = Path(folder) / "file"
            link.symlink_to(path.absolute())
            yield link
    else:
        yield path


def replace(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file beside its place and move it there, so that it is never half there."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a file so that it is never half there, with the same line ends everywhere."""
    # Names of files need not be UTF-8: what is none is told by its code.
    encoded = text.encode("utf-8", "backslashreplace")
    replace(path, lambda there: there.write_bytes(encoded))
