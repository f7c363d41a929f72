"""Which files are ours. A list in each folder that we write says so; no other file is touched.

The list, ``manifest.jsonl``, says in its first line what the folder is, and then names a file a
line, before or as it is written. Lines are only ever added, so that two processes may.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path, PurePosixPath

from pyro_vae import former
from pyro_vae.errors import InputError

__all__: list[str] = []

MANIFEST = "manifest.jsonl"
"""Name of the list."""
RUN = "run"
"""What a folder of :func:`pyro_vae.fit` is called in its list."""
COMPARISON = "comparison"
"""What a folder of :func:`pyro_vae.compare` is called."""
FIGURES = "figures"
"""What a folder of figures beside a page is called."""
MARK = {"Software": "pyro_vae"}
"""Metadata of the pictures that we draw, by which they are known wherever they lie."""

_SOME = 400
"""Lines of a list from which on it is cleared of files that are no more."""
_LITTER = re.compile(
    r"\.(DS_Store|gitkeep|lock|ray-[0-9a-f]{32}|pyro-vae-.*|_.*)|Thumbs\.db|desktop\.ini",
    re.IGNORECASE,
)
"""What systems leave in a folder by themselves, and what a process of ours that was killed does."""


def kind(folder: str | Path) -> str | None:
    """What a folder is that we wrote: a run, a comparison, figures; None if it is not ours."""
    folder = Path(folder)
    head = _lines(folder)[:1]
    if head and head[0].get("folder") in (RUN, COMPARISON, FIGURES):
        return str(head[0]["folder"])
    if former.is_run(folder):
        return RUN
    if any(former.is_run(run) for run in folder.glob("*/seed-*")):
        return COMPARISON
    return None


def holds(folder: str | Path) -> bool:
    """Whether a folder is ours, or one somewhere below it is; hidden ones are not looked into."""
    for place, folders, _ in os.walk(folder):
        if kind(place) is not None:
            return True
        folders[:] = [name for name in folders if name[0] != "."]
    return False


def only(folder: Path) -> bool:
    """Whether a folder is ours, or holds nothing but such and pages on them."""
    if kind(folder) is not None:
        return True
    entries = [entry for entry in folder.iterdir() if entry.name[0] != "."]
    folders = [entry for entry in entries if entry.is_dir() and not entry.is_symlink()]
    pages = all(entry.suffix == ".html" for entry in entries if entry not in folders)
    return pages and bool(folders) and all(map(only, folders))


def check(folder: str | Path, what: str, names: Iterable[str] = ()) -> None:
    """Make sure that files may be written into a folder; nothing is touched.

    Args:
        folder: The folder, which need not be there.
        what: What it is to be: ``RUN``, ``COMPARISON`` or ``FIGURES``.
        names: Paths of the files within it, with slashes; one that ends in a slash is a folder.

    Raises:
        InputError: If it is a file, or holds something and is not ours or is something else; or if
            one of the files is there and is not ours.
    """
    folder = Path(folder)
    if os.path.lexists(folder) and not folder.is_dir():
        said = "a file" if folder.exists() else "a link to nothing"
        raise InputError(f"{folder} is {said}, not a folder")
    if ".." in folder.parts:  # perhaps through a folder that is not there yet
        folder = folder.resolve()
    found = kind(folder)
    there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    there = [name for name in there if not _LITTER.fullmatch(name)]
    if found is None and there:
        raise InputError(
            f"{folder} is no {what} of pyro-vae and holds other files ({_some(there)}): "
            "give a new or empty folder"
        )
    if found not in (None, what):
        raise InputError(f"{folder} holds a {found}, not a {what}: give another folder")
    known = files(folder)
    for name in (*names, MANIFEST):
        if not _may_be_written(folder, name, known):
            raise InputError(
                f"{folder / name} was not written by pyro-vae: move it away, or give another folder"
            )


def record(folder: str | Path, what: str, names: Iterable[str]) -> None:
    """List files as ours; the folder is made if it is not there."""
    folder = Path(folder)
    lines = _lines(folder)
    known = {line.get("file") for line in lines} if lines else files(folder)
    new = [name for name in dict.fromkeys(names) if name not in known]
    if lines and len(lines) < _SOME:
        _append(folder, [{"file": name} for name in new])
        return
    folder.mkdir(parents=True, exist_ok=True)
    there = sorted(name for name in files(folder) if os.path.lexists(folder / name))
    rest = [line for line in lines[1:] if "file" not in line][-1:]
    _write(folder, what, rest + [{"file": name} for name in (*there, *new)])


def claim(folder: str | Path, what: str, names: Iterable[str]) -> None:
    """``check``, then ``record``: before files are written."""
    names = tuple(names)
    check(folder, what, names)
    record(folder, what, (name for name in names if not name.endswith("/")))


def note(folder: Path, **said: object) -> None:
    """Add a line to a folder's list that names no file."""
    _append(folder, [said])


def noted(folder: Path, key: str) -> dict[str, object] | None:
    """The last line of a folder's list that has a key."""
    return next((line for line in reversed(_lines(folder)) if key in line), None)


def files(folder: str | Path) -> set[str]:
    """Names of a folder's files that are ours: those of its list, in whatever state they are.

    Of a folder that an earlier version wrote, which has no list, those whose name and content are
    a run's.
    """
    folder = Path(folder)
    lines = _lines(folder)
    if lines:
        named = (line.get("file") for line in lines)
        return {name for name in named if isinstance(name, str) and _is_within(name)}
    return set(former.known(folder))


def discard(folder: str | Path, names: Iterable[str]) -> None:
    """Remove such of these files as are ours."""
    folder = Path(folder)
    known = files(folder)
    for name in names:
        path = folder / name
        if name in known and _is_plain(folder, name) and not path.is_dir():
            path.unlink(missing_ok=True)


def remove(folder: str | Path) -> None:
    """Remove all files that are ours but the list, and folders in it that are then empty."""
    folder = Path(folder)
    what, known = kind(folder), files(folder)
    if what is None:
        return
    discard(folder, known)
    parents = {parent for name in known for parent in PurePosixPath(name).parents}
    for parent in sorted(parents - {PurePosixPath(".")}, reverse=True):
        with suppress(OSError):  # it is not empty
            (folder / parent).rmdir()
    _write(folder, what, [])


def check_picture(path: Path, overwrite: bool = False) -> None:
    """Make sure that a picture may be written.

    Raises:
        InputError: If another file is there that is no picture of ours, and may not be overwritten.
    """
    if os.path.lexists(path) and not overwrite and not _is_marked(path):
        raise InputError(
            f"{path} is there and was not drawn by pyro-vae: give another file, or --overwrite"
        )


def within(path: str | Path, folder: str | Path) -> bool:
    """Whether a path, which need not be there, is a folder or below it, whatever links lead there.

    Example:
        >>> within("pyro_vae/data/runs", "pyro_vae"), within("pyro_vae", "pyro_vae/data")
        (True, False)
    """
    place = Path(path).resolve()
    return any(
        parent.exists() and os.path.samefile(parent, folder) for parent in (place, *place.parents)
    )


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", …" if names[3:] else "")


def _may_be_written(folder: Path, name: str, known: set[str]) -> bool:
    path = folder / name
    if not _is_plain(folder, name):
        return False
    if not os.path.lexists(path) or (name.endswith("/") and path.is_dir()):
        return True
    if name == MANIFEST:
        return path.is_file() and (bool(_lines(folder)) or path.stat().st_size == 0)
    return path.is_file() and (name in known or _is_marked(path))


def _is_plain(folder: Path, name: str) -> bool:
    """Whether a path lies in its folder itself: nothing of it is a link, folders are folders."""
    path = folder / name
    between = [parent for parent in path.parents if folder in parent.parents]
    links = any(part.is_symlink() for part in (path, *between))
    return not links and all(part.is_dir() or not os.path.lexists(part) for part in between)


def _is_within(name: str) -> bool:
    """Whether a listed name stays in its folder: lists may be strangers'."""
    parts = PurePosixPath(name)
    return (
        bool(parts.parts)
        and not parts.is_absolute()
        and ".." not in parts.parts
        and not re.search(r"[\\:\0]", name)
    )


def _lines(folder: Path) -> list[dict[str, object]]:
    """A folder's list; empty where there is none that is ours."""
    try:
        text = (folder / MANIFEST).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return []
    lines = []
    for line in text.splitlines():
        with suppress(ValueError, RecursionError):  # cut short by a process that was killed
            lines.append(json.loads(line))
    lines = [line for line in lines if isinstance(line, dict)]
    return lines if lines and "pyro_vae" in lines[0] else []


def _text(lines: list[dict[str, object]]) -> str:
    return "".join(json.dumps(line) + "\n" for line in lines)


def _append(folder: Path, lines: list[dict[str, object]]) -> None:
    if not lines:
        return
    path = folder / MANIFEST
    whole = path.read_bytes().endswith(b"\n")
    with path.open("a", encoding="utf-8", newline="\n") as stream:
        stream.write(("" if whole else "\n") + _text(lines))


def _write(folder: Path, what: str, lines: list[dict[str, object]]) -> None:
    temporary = folder / f".{MANIFEST}.{os.getpid()}"
    try:
        head: dict[str, object] = {"pyro_vae": "files that pyro-vae wrote", "folder": what}
        temporary.write_text(_text([head, *lines]), encoding="utf-8", newline="\n")
        os.replace(temporary, folder / MANIFEST)
    finally:
        temporary.unlink(missing_ok=True)


def _is_marked(path: Path) -> bool:
    return path.is_file() and not path.is_symlink() and former.drawn_by_us(path)
