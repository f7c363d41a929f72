"""Folders of versions that kept no list of their files: what is theirs by name and content."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

__all__: list[str] = []

_HEAD = 2048


def known(folder: Path) -> Iterator[str]:
    """Names of files that by name and content are of a run or comparison."""
    for name, fits in _FORMER.items():
        for path in folder.glob(name):
            if path.is_file() and not path.is_symlink() and fits(path):
                yield path.relative_to(folder).as_posix()


def is_run(folder: Path) -> bool:
    """Whether a folder is a run's, in whatever state."""
    return any(
        fits(path) for name, fits in _MARKS.items() for path in folder.glob(name) if path.is_file()
    )


def drawn_by_us(path: Path) -> bool:
    """Whether a file is a picture that says of itself that it is ours."""
    return _marked(path)


def _json(*keys: str) -> Callable[[Path], bool]:
    """Whether a file holds a table, or its first line does, with these keys."""

    def fits(path: Path) -> bool:
        with path.open("rb") as stream:
            try:
                text = stream.readline() if path.suffix == ".jsonl" else stream.read()
                found = json.loads(text)
            except (ValueError, RecursionError):
                return False
        return isinstance(found, dict) and found.keys() >= set(keys)

    return fits


def _head(pattern: bytes) -> Callable[[Path], bool]:
    """Whether a file begins so."""

    def fits(path: Path) -> bool:
        with path.open("rb") as stream:
            return re.match(pattern, stream.read(_HEAD), re.DOTALL) is not None

    return fits


_drawn = _head(rb"\x89PNG\r\n.{0,200}Software\0(Matplotlib|pyro_vae)")
_marked = _head(rb"\x89PNG\r\n.{0,200}Software\0pyro_vae")
_weights = _head(rb".{5}\0{3}\{\"")
_HEX = "[0-9a-f]" * 16
_MARKS: dict[str, Callable[[Path], bool]] = {
    "config.json": _json("format", "vae"),
    "metrics.jsonl": _json("record", "split", "step", "kl"),
    "result.json": _json("fingerprint", "cell", "seed"),
    "failed.json": _json("fingerprint", "cell", "seed"),
    f"checkpoint/step-*-{_HEX}.safetensors": _weights,
}
_CURVES = ("step-training", "epoch-training", "epoch-held-out")
_PICTURES = (
    *("reconstructions", "samples", "curves", "latents", "calibration", "traversals"),
    *("interpolations", "kinds", "by-*", "rate-distortion"),
)
_FORMER: dict[str, Callable[[Path], bool]] = {
    **_MARKS,
    # Of a run that was cut short in its first epoch it is empty.
    "metrics.jsonl": lambda path: not path.stat().st_size or _MARKS["metrics.jsonl"](path),
    "model.safetensors": _weights,
    "fault.json": _json("step", "where", "advice"),
    "evaluation.json": _json("kind", "kl", "images"),
    "checkpoint/.writing-*": _head(b""),
    **dict.fromkeys((f"events/{curve}/events.out.tfevents.*" for curve in _CURVES), _head(b"")),
    **dict.fromkeys((f"{name}.png" for name in _PICTURES), _drawn),
    "results.csv": _head(b"cell,seed,failed,"),
    "results.jsonl": _json("cell", "seed", "failed"),
    "summary.csv": _head(b"(cell,score,n,|\r?\n)"),
    "differences.csv": _head(b"(cell,minus,score,|\r?\n)"),
    "rate_distortion.csv": _head(b"(cell,n,rate,|\r?\n)"),
    "claims.json": _head(rb"\["),
    "search.json": _json("objective", "trials"),
}
