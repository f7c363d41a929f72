"""Colour patches: where they cannot be written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pyro_vae import InputError
from pyro_vae.data import patches


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other patches, in no time."""
    monkeypatch.setattr(patches, "cut", lambda: {"train": np.zeros((2, 3, 4, 4), np.uint8)})


@pytest.mark.parametrize("folder", ["file", "file/below"])
def test_a_folder_that_is_a_file(folder: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="colour-patches cannot be written to"):
        patches.make(tmp_path / folder)
    assert (tmp_path / "file").read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_the_name(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / patches.FILE).mkdir()
    with pytest.raises(InputError, match="is a folder: move it away"):
        patches.make(tmp_path, overwrite)
    assert [path.name for path in tmp_path.iterdir()] == [patches.FILE]


def test_a_folder_that_may_not_be_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(patches.os, "replace", fail)
    with pytest.raises(InputError, match=r"cannot be written to .*: Permission denied"):
        patches.make(tmp_path)
    assert list(tmp_path.iterdir()) == []
