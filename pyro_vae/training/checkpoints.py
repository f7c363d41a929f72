"""Checkpoints: all that a run is at one step, in files that are whole or not there.

A checkpoint is one safetensors file whose metadata hold, as JSON, everything that is no tensor. Its
name ends in the digest of its content and it gets that name only when it is on disk: a file cut
short has no name, and one that was changed has the wrong one. Nothing is pickled.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from pyro_vae import ours
from pyro_vae.errors import InputError, reason
from pyro_vae.files import in_utf8
from pyro_vae.types import JSON

__all__: list[str] = []

FOLDER = "checkpoint"
_DIGITS = 16  # of the digest, in the name
_MARKS = ("tensor", "tuple", "pairs")


def _named(path: Path) -> bool:
    """Whether a file has a checkpoint's name."""
    return re.fullmatch(r"step-\d{8,}-[0-9a-f]{16}\.safetensors", path.name) is not None


class Checkpoints:
    """The checkpoints of a run folder.

    Args:
        run: The run folder.
        keep: How many to keep, the last ones.

    Example:
        >>> import torch
        >>> from tempfile import mkdtemp
        >>> kept = Checkpoints(Path(mkdtemp()))
        >>> kept.write(7, {"weights": {"a": torch.ones(2)}, "lr": (0.1, None)}).name[:13]
        'step-00000007'
        >>> kept.latest()
        (7, {'weights': {'a': tensor([1., 1.])}, 'lr': (0.1, None)})
    """

    def __init__(self, run: Path, keep: int = 2) -> None:
        self.run, self.folder, self.keep = run, run / FOLDER, keep
        self.damaged: list[str] = []

    def write(self, step: int, tree: Mapping[str, object]) -> Path:
        """Write one and drop the oldest.

        Args:
            step: The steps done; part of the name.
            tree: Tensors, numbers, strings, None, and dicts, lists and tuples of them.

        Raises:
            OSError: If it cannot be written; those there are stay as they were.
        """
        tensors: dict[str, Tensor] = {}
        skeleton = json.dumps(_taken_apart(tree, tensors, ""))
        temporary = self.folder / f".writing-{os.getpid()}"
        self._claim(temporary)
        self.folder.mkdir(exist_ok=True)
        try:
            write_tensors(tensors, temporary, {"tree": skeleton})
            path = self.folder / f"step-{step:08d}-{_digest(temporary)}.safetensors"
            _flush(temporary)
            self._claim(path)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        _flush(self.folder)
        self._discard([*self._files()[self.keep :], *self._left()])
        return path

    def latest(self) -> tuple[int, JSON] | None:
        """Step and content of the last one that is whole; None where there is none.

        Those that are damaged are named in ``damaged``.

        Raises:
            InputError: If there are checkpoints and none is whole.
        """
        files = self._files()
        for path in files:
            try:
                return int(path.name[5:13]), _read(path)
            except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
                self.damaged.append(f"{path.name}: {reason(error)}")
        if files:
            raise InputError(f"no checkpoint in {self.folder} is whole: {self.damaged[0]}")
        return None

    def clear(self) -> None:
        """Remove all of them."""
        self._discard([*self._files(), *self._left()])
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _files(self) -> list[Path]:
        return sorted(filter(_named, self.folder.glob("step-*.safetensors")), reverse=True)

    def _left(self) -> list[Path]:
        """What a process that was killed has left."""
        return list(self.folder.glob(".writing-*"))

    def _claim(self, path: Path) -> None:
        ours.claim(self.run, ours.RUN, [f"{FOLDER}/{path.name}"])

    def _discard(self, paths: list[Path]) -> None:
        ours.discard(self.run, [f"{FOLDER}/{path.name}" for path in paths])


def write_tensors(
    tensors: Mapping[str, Tensor], path: Path, metadata: dict[str, str] | None = None
) -> None:
    """Write a safetensors file; tensors that share memory are written each.

    Raises:
        OSError: If it cannot be written, also where safetensors has an error of its own for that.
    """
    path.touch()  # safetensors makes files that only their owner may read
    mode = stat.S_IMODE(path.stat().st_mode)
    try:
        save_file(_apart(tensors), path, metadata)
    except SafetensorError as error:
        reason = str(error).partition("I/O error: ")[2] or str(error)
        raise OSError(errno.EIO, reason, str(path)) from None
    path.chmod(mode)


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of which no two share memory, which safetensors refuses."""
    found: dict[str, Tensor] = {}
    taken: set[int] = set()
    for name, tensor in tensors.items():
        own = tensor.detach().contiguous()
        place = own.untyped_storage().data_ptr()
        found[name] = own.clone() if place in taken else own
        taken.add(place)
    return found


def _read(path: Path) -> JSON:
    if _digest(path) != path.stem.rpartition("-")[2]:
        raise ValueError("its content is not what was written")
    with in_utf8(path) as there, safe_open(there, framework="pt") as stream:
        skeleton = json.loads(stream.metadata()["tree"])
        names = stream.keys()  # no dict: it cannot be iterated over
        tree = _put_together(skeleton, {name: stream.get_tensor(name) for name in names})
    return dict(tree)


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:_DIGITS]


def _flush(path: Path) -> None:
    """Wait until a file, or a folder's list of files, is on disk."""
    if path.is_dir() and os.name == "nt":
        return  # Windows opens no folders
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _taken_apart(node: object, tensors: dict[str, Tensor], path: str) -> object:
    """JSON for a node; its tensors go into ``tensors``."""
    if isinstance(node, Tensor):
        tensors[path] = node.detach().cpu().contiguous().clone()
        return {"tensor": path}
    if isinstance(node, Mapping):
        parts = {key: _taken_apart(value, tensors, f"{path}/{key}") for key, value in node.items()}
        plain = all(isinstance(key, str) and key not in _MARKS for key in parts)
        return parts if plain else {"pairs": [list(pair) for pair in parts.items()]}
    if isinstance(node, list | tuple):
        items = [_taken_apart(value, tensors, f"{path}/{i}") for i, value in enumerate(node)]
        return {"tuple": items} if isinstance(node, tuple) else items
    return node


def _put_together(node: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(node, list):
        return [_put_together(item, tensors) for item in node]
    if not isinstance(node, dict):
        return node
    if len(node) == 1:
        (mark, content), *_ = node.items()
        if mark == "tensor":
            return tensors[content]
        if mark == "tuple":
            return tuple(_put_together(item, tensors) for item in content)
        if mark == "pairs":
            return {key: _put_together(value, tensors) for key, value in content}
    return {key: _put_together(value, tensors) for key, value in node.items()}
