"""Finding image files below folders: each file once, whatever links lead to it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from pyro_vae import ours
from pyro_vae.data.pictures import SUFFIXES

__all__: list[str] = []


class Search:
    """Image files below some folders, in the order of their names.

    A file that links lead to a second time, by another name or from another folder, would be
    trained on and held out at once: it counts where it lies, else where the first link is.

    Args:
        top: The folder of the data set; links to it, or to a folder around it, are not followed.
        folders: Where to look: the folder itself, or those of its parts.

    Attributes:
        passed_over: How many of what was passed over, but for names that begin with a dot.
    """

    def __init__(self, top: Path, folders: Sequence[Path]) -> None:
        real = Path(os.path.realpath(top))
        self._around = {str(real), *map(str, real.parents)}
        self._folders: set[str] = set()
        self._files: set[str] = set()
        self.passed_over: Counter[str] = Counter()
        self._found: dict[Path, list[Path]] = {folder: [] for folder in folders}
        linked: list[tuple[Path, Path]] = []
        for folder in sorted(folders, key=os.path.islink):
            linked += ((folder, link) for link in self._below(folder, folder))
        while linked:
            folder, link = linked.pop(0)
            linked += ((folder, further) for further in self._through(folder, link))

    def of(self, folder: Path) -> list[Path]:
        """The image files below one of the folders."""
        return sorted(self._found[folder])

    @property
    def words(self) -> str:
        """What was passed over, in a few words; empty if nothing was."""
        return words_of(self.passed_over)

    def _below(self, folder: Path, path: Path) -> Iterator[Path]:
        """Take the files that lie below a folder, and give the links there."""
        real = os.path.realpath(path)
        if real in self._folders:
            self.passed_over["link to a folder that is there already"] += 1
            return
        self._folders.add(real)
        if path != folder and ours.kind(path) is not None:  # a run's pictures are no data
            self.passed_over["folder of a run"] += 1
            return
        with os.scandir(path) as entries:
            there = sorted(entries, key=lambda entry: entry.name)
        for entry in there:
            if entry.name[0] == ".":
                continue
            if entry.is_symlink():
                yield Path(entry.path)
            elif entry.is_dir():
                yield from self._below(folder, Path(entry.path))
            elif self._is_image(entry.name):
                self._take(folder, Path(entry.path), os.path.join(real, entry.name))

    def _through(self, folder: Path, link: Path) -> Iterator[Path]:
        real = os.path.realpath(link)
        if not os.path.exists(real):
            self.passed_over["broken link"] += 1
        elif os.path.isdir(real):
            if real in self._around:
                self.passed_over["link to a folder around it"] += 1
            else:
                yield from self._below(folder, link)
        elif self._is_image(link.name):
            self._take(folder, link, real)

    def _take(self, folder: Path, path: Path, real: str) -> None:
        if not os.path.isfile(real):
            self.passed_over["no ordinary file"] += 1
        elif real in self._files:
            self.passed_over["link to an image that is there already"] += 1
        else:
            self._files.add(real)
            self._found[folder].append(path)

    def _is_image(self, name: str) -> bool:
        suffix = os.path.splitext(name)[1].lower()
        if suffix not in SUFFIXES:
            self.passed_over[of_ending(suffix)] += 1
        return suffix in SUFFIXES


def of_ending(suffix: str) -> str:
    """What a file of an ending is called where it is passed over."""
    return f"{suffix} file" if suffix else "file without an ending"


def words_of(passed_over: Counter[str]) -> str:
    """What was passed over, and how many of each, in a few words; empty if nothing was."""
    said = []
    for what, count in sorted(passed_over.items()):
        nouns = ("link", "folder of", "file")
        noun = next((noun for noun in nouns if f"{noun} " in f"{what} "), "file").split()[0]
        said.append(f"{count} {what if count == 1 else what.replace(noun, f'{noun}s', 1)}")
    return ", ".join(said)
