"""A user's own images on the command line, and mistakes with them."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

from .pictures import folder, noise, save

pytestmark = pytest.mark.usefixtures("no_pictures")

SMALL = ("--epochs", 1, "--hidden", 8, "--latent-dim", 2)


def mixed_sizes(path: Path) -> None:
    folder(path, 5)
    save(path / "odd.png", noise(0, 9, 8))


def mixed_after_resize(path: Path) -> None:
    folder(path, 5, 16, 16)
    save(path / "odd.png", noise(0, 16, 24))


def text(path: Path) -> None:
    folder(path, 5)
    (path / "odd.png").write_text("no image")


def nothing(path: Path) -> None:
    path.mkdir()
    (path / "notes.txt").write_text("no image")


def one(path: Path) -> None:
    save(path / "odd.png", noise(0, 8, 8))


def one_of_a_class(path: Path) -> None:
    save(path / "cat" / "odd.png", noise(0, 8, 8))


def truncated(path: Path) -> None:
    folder(path, 5)
    save(path / "odd.png", noise(0, 8, 8))
    (path / "odd.png").write_bytes((path / "odd.png").read_bytes()[:90])


def bomb(path: Path) -> None:
    """A header that says 50,000 × 50,000 pixels."""
    folder(path, 5)
    body = b"IHDR" + struct.pack(">IIBBBBB", 50_000, 50_000, 8, 0, 0, 0, 0)
    header = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    idat = b"IDAT" + zlib.compress(b"")
    data = struct.pack(">I", len(idat) - 4) + idat + struct.pack(">I", zlib.crc32(idat))
    (path / "odd.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + data)


def small_bomb(path: Path) -> None:
    """Above Pillow's limit, where it only warns."""
    bomb(path)
    content = (path / "odd.png").read_bytes()
    body = b"IHDR" + struct.pack(">IIBBBBB", 10_000, 10_000, 8, 0, 0, 0, 0)
    header = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    (path / "odd.png").write_bytes(content[:8] + header + content[33:])


def floats(path: Path) -> None:
    folder(path, 5)
    save(path / "odd.tif", noise(0, 8, 8).astype(np.float32))


def empty_class(path: Path) -> None:
    folder(path / "cat", 5)
    (path / "odd.png").mkdir()


def beside(path: Path) -> None:
    folder(path / "cat", 5)
    save(path / "odd.png", noise(0, 8, 8))


def another_class(path: Path) -> None:
    folder(path / "train" / "cat", 5)
    folder(path / "test" / "odd.png", 5)


@pytest.mark.parametrize(
    ("make", "options", "words"),
    [
        (mixed_sizes, (), "8x9 pixels, 000.png 8x8: add --resize 8 --crop 8"),
        (mixed_after_resize, ("--resize", 8), "12x8 pixels, 000.png 8x8 after --resize 8: add"),
        (mixed_sizes, ("--crop", 9), "smaller than --crop 9: add --resize 9"),
        (text, (), "odd.png is not an image"),
        (nothing, (), "holds no images (.jpg,"),
        (one, (), "holds only one image, odd.png"),
        (one_of_a_class, (), "holds only one image, odd.png"),
        (truncated, (), "odd.png cannot be read: not whole"),
        (bomb, (), "odd.png has more pixels than Pillow's limit of 89478485"),
        (small_bomb, (), "odd.png has more pixels than Pillow's limit of 89478485"),
        (floats, (), "odd.tif has 32-bit levels"),
        (empty_class, (), "odd.png holds no images"),
        (beside, (), "holds images (odd.png) beside folders of images (cat)"),
        (another_class, (), "odd.png is a class that train does not hold"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_mistakes_in_a_folder(
    mistake: Callable[..., str],
    tmp_path: Path,
    make: Callable[[Path], None],
    options: tuple[object, ...],
    words: str,
) -> None:
    path = tmp_path / "images"
    make(path)
    said = mistake("fit", "--data", path, *options, "--out", tmp_path / "run", *SMALL)
    assert words in said
    assert str(path) in said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--data", "mnist-5k", "--resize", 14), "--resize and --crop are for image files"),
        (("--data", "no/where"), "there is no folder 'no/where'"),
        (
            ("--data", "nowhere"),
            "unknown data set (or .npy, .npz, .h5, .zarr, .csv, .tsv, .parquet, .feather, .zip or "
            ".tar file, or folder of images)",
        ),
        (("--data", ".", "--crop", 0), "crop must be a positive integer, got 0"),
    ],
    ids=["stock", "path", "name", "zero"],
)
def test_other_mistakes(
    mistake: Callable[..., str], options: tuple[object, ...], words: str
) -> None:
    assert words in mistake("fit", *options, *SMALL)


def test_a_folder_is_trained_on_and_found_again_at_its_size(
    cli: Callable[..., Result], tmp_path: Path
) -> None:
    for i in range(60):
        save(tmp_path / "images" / "ab"[i % 2] / f"{i:02}.png", noise(i, 12 + i % 3, 10))
    sizes = ("--resize", 10, "--crop", 8)
    trained = cli("fit", "--data", "images", *sizes, "--out", "run", "--json", *SMALL)
    assert trained.exit_code == 0, trained.stderr
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["data"]["name"] == str(tmp_path / "images")
    assert (config["data"]["resize"], config["data"]["crop"]) == (10, 8)
    scored = cli("evaluate", "run", "--json")
    assert scored.exit_code == 0, scored.stderr
    assert json.loads(scored.stdout)["images"] == 6
    told = cli("forecast", "--data", "images", *sizes, "--json")
    assert told.exit_code == 0, told.stderr


def test_alpha_is_told_in_a_line(tmp_path: Path) -> None:
    for i in range(6):
        save(tmp_path / f"{i}.png", noise(i, 8, 8), "LA")
    # In a process of its own: pytest takes what is logged.
    words = ("-m", "pyro_vae_cli", "forecast", "--data", str(tmp_path))
    told = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True)
    assert told.stderr.startswith(f"6 of 6 images, {tmp_path / '0.png'} first, have an alpha")
    assert told.stderr.count("\n") == 1


def test_files_of_data_are_told_apart_by_their_content(tmp_path: Path) -> None:
    from pyro_vae.training import RunConfig

    def printed() -> str:
        return RunConfig.of(data=str(tmp_path)).fingerprint

    folder(tmp_path, 6)
    before = printed()
    assert printed() == before
    save(tmp_path / "000.png", noise(99, 8, 8))
    after = printed()
    assert after != before
    (tmp_path / "000.png").rename(tmp_path / "a.png")
    assert printed() not in (before, after)
