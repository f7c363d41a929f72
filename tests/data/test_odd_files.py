"""Odd files through `data`, `fit` and `evaluate`: each is either right or refused in one true line.

None ends in a traceback, whatever it holds.
"""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from PIL import Image

from .pictures import folder, noise, save

pytestmark = pytest.mark.usefixtures("no_pictures")

SMALL = ("--epochs", 1, "--hidden", 4, "--latent-dim", 1)
Make = Callable[[Path], Path]
GREY = np.stack([noise(i, 6, 5) for i in range(20)])
ROWS = "height,city\n" + "".join(f"{i / 3:.3f},{'Rome' if i % 2 else 'Paris'}\n" for i in range(24))


def npy(values: Any, **options: Any) -> Make:
    def make(there: Path) -> Path:
        np.save(there / "a.npy", values, **options)
        return there / "a.npy"

    return make


def raw(name: str, content: bytes | str, encoding: str = "utf-8") -> Make:
    def make(there: Path) -> Path:
        (there / name).write_bytes(
            content if isinstance(content, bytes) else content.encode(encoding)
        )
        return there / name

    return make


def pictures(mode: str, ending: str = "png", **options: Any) -> Make:
    """A folder of 12 pictures of one mode."""

    def make(there: Path) -> Path:
        for i in range(12):
            (there / "p").mkdir(exist_ok=True)
            image = Image.fromarray(noise(i, 6, 5, 3)).convert(mode)
            image.save(there / "p" / f"{i:02}.{ending}", **options)
        return there / "p"

    return make


def deep(there: Path) -> Path:
    for i in range(12):
        (there / "p").mkdir(exist_ok=True)
        Image.fromarray(noise(i, 6, 5).astype(np.uint16) * 16).save(there / "p" / f"{i:02}.png")
    return there / "p"


def animated(there: Path) -> Path:
    (there / "p").mkdir()
    for i in range(12):
        first, *rest = (Image.fromarray(noise(10 * i + k, 6, 5)) for k in range(3))
        first.save(there / "p" / f"{i:02}.webp", save_all=True, append_images=rest, lossless=True)
    return there / "p"


def mixed(there: Path) -> Path:
    folder(there / "p", 8, 6, 5)
    save(there / "p" / "odd.png", noise(0, 9, 9))
    return there / "p"


def truncated(there: Path) -> Path:
    np.savez(there / "a.npz", images=GREY)
    whole = (there / "a.npz").read_bytes()
    (there / "a.npz").write_bytes(whole[: len(whole) // 2])
    return there / "a.npz"


def cut_npy(there: Path) -> Path:
    path = npy(GREY)(there)
    path.write_bytes(path.read_bytes()[:-7])
    return path


def named(**arrays: Any) -> Make:
    def make(there: Path) -> Path:
        np.savez(there / "a.npz", **arrays)
        return there / "a.npz"

    return make


def zipped(names: dict[str, bytes | None]) -> Make:
    """A .zip file; None stands for a picture."""

    def make(there: Path) -> Path:
        with zipfile.ZipFile(there / "a.zip", "w") as archive:
            for i, (name, content) in enumerate(names.items()):
                stream = io.BytesIO()
                Image.fromarray(noise(i, 6, 5)).save(stream, "png")
                archive.writestr(name, stream.getvalue() if content is None else content)
        return there / "a.zip"

    return make


def empty_folder(there: Path) -> Path:
    (there / "p").mkdir()
    return there / "p"


def folder_called(name: str) -> Make:
    def make(there: Path) -> Path:
        (there / name).mkdir()
        return there / name

    return make


def broken_link(there: Path) -> Path:
    (there / "a.npy").symlink_to(there / "gone.npy")
    return there / "a.npy"


REAL = np.random.default_rng(0).normal(size=(20, 4))
REFUSED: dict[str, tuple[Make, str]] = {
    "truncated npz": (truncated, "not a readable .npz file"),
    "cut npy": (cut_npy, "not a readable .npy file"),
    "empty csv": (raw("a.csv", ""), "has no rows"),
    "only a header": (raw("a.csv", "a,b\n"), "has no rows"),
    "latin-1 csv": (raw("a.csv", ROWS.replace("Rome", "Málaga"), "latin-1"), "is not UTF-8"),
    "utf-16 csv": (raw("a.csv", ROWS, "utf-16"), "is not UTF-8"),
    "ragged csv": (raw("a.csv", ROWS + "1,2,3\n"), "row 26 has 3 fields, row 1 has 2"),
    "one name twice": (raw("a.csv", ROWS.replace("city", "height")), "have one name, 'height'"),
    "open quote": (raw("a.csv", ROWS + '1,"Rome\n'), "is a quote missing?"),
    "mixed sizes": (mixed, "images differ in size"),
    "object array": (npy(np.array([{}, []], object), allow_pickle=True), "Python objects"),
    "pickle": (raw("a.npy", pickle.dumps(GREY)), "does not begin as those of numpy do"),
    "complex": (npy(GREY + 1j), "complex numbers: give real and imaginary parts"),
    "nan": (npy(np.where(GREY > 250, np.nan, GREY / 255)), "images must be finite"),
    "infinite": (npy(np.where(GREY > 250, np.inf, GREY / 255)), "images must be finite"),
    "no images": (npy(GREY[:0]), "there are no images"),
    "one image": (npy(GREY[:1]), "1 images are too few to hold a tenth of them out"),
    "strings": (npy(np.array(["a", "b"])), "images must be numbers, got an array of texts"),
    "records": (npy(np.zeros(20, [("a", "f4"), ("b", "f4")])), "structured_to_unstructured"),
    "dates": (npy(np.zeros((20, 3), "M8[s]")), "dates: give numbers"),
    "no dimension": (npy(np.float32(1.0)), "images must have shape"),
    "five dimensions": (npy(np.zeros((9, 2, 2, 2, 2))), "images must have shape"),
    "two arrays": (named(a=GREY, b=GREY), "it holds a, b: it must hold one array"),
    "two trains": (named(train=GREY, x_train=GREY, test=GREY), "holds train and x_train: which"),
    "spreadsheet": (raw("a.xlsx", b"PK"), "is there, but its ending .xlsx is none that is read"),
    "checkpoint": (raw("a.pt", b"PK"), "its ending .pt is none"),
    "no ending": (raw("images", b"PK"), "a name without an ending"),
    "empty zip": (zipped({}), "no images"),
    "no zip": (raw("a.zip", b"nothing"), "is not a readable .zip file"),
    "zip of arrays": (zipped({"a.npy": b"", "b.npy": b""}), "passed over: 2 .npy files"),
    "zip of a broken picture": (zipped({"a.png": None, "b.png": b"x"}), "b.png is not an image"),
    "empty folder": (empty_folder, "holds no images"),
    "folder called csv": (folder_called("a.csv"), "Is a directory"),
    "folder called npy": (folder_called("a.npy"), "a.npy"),
    "folder called zip": (folder_called("a.zip"), "a.zip is not a readable .zip file"),
    "broken link": (broken_link, "there is no such file"),
    "no tar": (raw("a.tar", b"nothing"), "is not a whole .tar file"),
    "tgz": (raw("a.tgz", b"\x1f\x8b"), "is compressed: gunzip it first"),
}
RIGHT: dict[str, tuple[Make, tuple[int, ...] | None]] = {
    "csv with a mark": (raw("a.csv", ROWS, "utf-8-sig"), None),
    "tsv": (raw("a.tsv", ROWS.replace(",", "\t")), None),
    "semicolons and decimal commas": (
        raw("a.csv", ROWS.replace(",", ";").replace(".", ",")),
        None,
    ),
    "csv of Windows": (raw("a.CSV", ROWS.replace("\n", "\r\n")), None),
    "one bit": (pictures("1"), (1, 6, 5)),
    "palette": (pictures("P"), (3, 6, 5)),
    "transparency": (pictures("RGBA"), (3, 6, 5)),
    "four inks": (pictures("CMYK", "jpg"), (3, 6, 5)),
    "sixteen bits": (deep, (1, 6, 5)),
    "animated": (animated, (3, 6, 5)),
    "big-endian": (npy((GREY / 255).astype(">f8")), (1, 6, 5)),
    "half precision": (npy((GREY / 255).astype(np.float16)), (1, 6, 5)),
    "fortran's order": (npy(np.asfortranarray(GREY)), (1, 6, 5)),
    "truth values": (npy(GREY > 128), (1, 6, 5)),
    "keras": (
        named(x_train=GREY, y_train=np.arange(20), x_test=GREY[:9], y_test=np.arange(9)),
        (1, 6, 5),
    ),
    "any name": (named(arr_0=GREY), (1, 6, 5)),
    "zip in a folder": (zipped({f"set/{i % 2}/{i}.png": None for i in range(12)}), (1, 6, 5)),
    "names of other letters": (
        lambda there: folder_of_names(there, ["日本.png", "a b.png", "ü$x^2$.png"]),
        (1, 6, 5),
    ),
}


def folder_of_names(there: Path, names: list[str]) -> Path:
    for i in range(4):
        for k, name in enumerate(names):
            save(there / "p" / str(i) / name, noise(3 * i + k, 6, 5))
    return there / "p"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of images and one of a table."""
    import pyro_vae as pv

    there = tmp_path_factory.mktemp("runs")
    (there / "t.csv").write_text(ROWS)
    options = {"epochs": 1, "hidden": 4, "latent_dim": 1}
    pv.training.RunConfig.of(images=20, **options).run(there / "images")
    pv.training.RunConfig.of(data=str(there / "t.csv"), **options).run(there / "table")
    return there


@pytest.mark.parametrize("kind", REFUSED)
def test_odd_files_are_refused_in_a_line(
    kind: str, mistake: Callable[..., str], tmp_path: Path, runs: Path
) -> None:
    make, words = REFUSED[kind]
    path = make(tmp_path)
    assert words in mistake("data", path)
    assert words in mistake("fit", "--data", path, "--out", "run", *SMALL)
    run = runs / ("table" if path.suffix == ".csv" else "images")
    assert words in mistake("evaluate", run, "--data", path)


@pytest.mark.parametrize("kind", RIGHT)
def test_odd_files_that_are_whole_are_read(
    kind: str, cli: Callable[..., Result], tmp_path: Path
) -> None:
    make, shape = RIGHT[kind]
    path = make(tmp_path)
    shown = cli("data", path, "--json")
    assert shown.exit_code == 0, shown.stderr
    found = json.loads(shown.stdout)
    assert found.get("shape") == (None if shape is None else list(shape))
    trained = cli("fit", "--data", path, "--out", "run", *SMALL)
    assert trained.exit_code == 0, trained.stderr
    scored = cli("evaluate", "run", "--json")
    assert scored.exit_code == 0, scored.stderr
    assert json.loads(scored.stdout)["images"] == found["test"]
