"""Images in tar shards."""

from __future__ import annotations

import gzip
import io
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pyro_vae import InputError, data
from pyro_vae.data import Stored, stored
from pyro_vae.data.braces import expand
from pyro_vae.data.files import digest
from pyro_vae.training import RunConfig

from .pictures import listed, noise

Contents = dict[str, bytes]
SMALL = ("--epochs", 1, "--hidden", 8, "--latent-dim", 2)


def image(levels: np.ndarray, kind: str = "png") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(levels).save(stream, kind)
    return stream.getvalue()


def numbers(values: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values)
    return stream.getvalue()


def tar(path: Path, contents: Contents, form: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, "w", format=form) as shard:
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            shard.addfile(info, io.BytesIO(content))
    return path


def shards(folder: Path, count: int = 30, each: int = 10) -> np.ndarray:
    """Shards of random images with classes: those of ``noise`` by their number."""
    levels = np.stack([noise(i, 3, 6, 5) for i in range(count)])
    for start in range(0, count, each):
        contents: Contents = {}
        for i in range(start, start + each):
            contents[f"a/{i:04}.png"] = image(levels[i].transpose(1, 2, 0))
            contents[f"a/{i:04}.cls"] = str(i).encode()
            contents[f"a/{i:04}.json"] = b"{}"
        tar(folder / f"s-{start // each:02}.tar", contents)
    return levels


@pytest.mark.parametrize(
    ("pattern", "paths"),
    [
        ("a.tar", ["a.tar"]),
        ("s-{8..11}.tar", ["s-8.tar", "s-9.tar", "s-10.tar", "s-11.tar"]),
        ("s-{098..100}.tar", ["s-098.tar", "s-099.tar", "s-100.tar"]),
        ("{a,b}/{x,y}.tar", ["a/x.tar", "a/y.tar", "b/x.tar", "b/y.tar"]),
        ("s{,-1}.tar", ["s.tar", "s-1.tar"]),
    ],
    ids=["plain", "numbers", "zeros", "two", "empty"],
)
def test_braces_are_those_of_a_shell(pattern: str, paths: list[str]) -> None:
    assert [path.as_posix() for path in expand(pattern)] == paths


@pytest.mark.parametrize("pattern", ["{5..4}.tar", "{0..999999999}.tar", "{0..999}{0..999}.tar"])
def test_braces_for_none_or_too_many(pattern: str) -> None:
    with pytest.raises(InputError, match=r"stands for (0|more|1,000,000,000)"):
        expand(pattern)


@pytest.mark.parametrize("pattern", ["{a,b,a}.tar", "{1..3}{,0}{,0}.tar"])
def test_a_shard_twice_would_be_trained_on_and_held_out(pattern: str) -> None:
    with pytest.raises(InputError, match=r"stands for .* more than once"):
        expand(pattern)


def test_braces_with_numbers_that_python_does_not_read() -> None:
    with pytest.raises(InputError, match="have 255 digits at most, got 9999"):
        expand("{" + "9" * 5000 + "..1}.tar")
    assert expand("{٣..٤}.tar") == [Path("٣..٤.tar")]


PACKED = {"bz2": "bunzip2", "xz": "unxz", "gz": "gunzip"}


@pytest.mark.parametrize("kind", list(PACKED))
def test_what_unpacks_a_compressed_shard_is_told(tmp_path: Path, kind: str) -> None:
    with tarfile.open(tmp_path / "s.tar", f"w:{kind}") as shard:  # type: ignore[call-overload]
        shard.addfile(tarfile.TarInfo("0.png"))
    with pytest.raises(InputError, match=f"compressed .tar file.*: {PACKED[kind]} it first"):
        data.load(str(tmp_path / "s.tar"))


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tgz", "b/a.tar.bz2", "a.tar.xz", "a.tar.zst"])
def test_the_name_of_a_compressed_shard_is_enough(name: str) -> None:
    with pytest.raises(InputError, match="is compressed: gunzip it first"):
        data.load(name)


def test_a_pattern_may_be_longer_than_a_name() -> None:
    pattern = "{" + ",".join(map(str, range(1000))) + "}.tar"
    with pytest.raises(InputError, match=r"there is no shard 0\.tar"):
        data.load(pattern)
    assert digest(pattern) is not None


def test_an_empty_file_is_not_called_compressed(tmp_path: Path) -> None:
    (tmp_path / "s.tar").touch()
    with pytest.raises(InputError, match=r"s\.tar is empty, not a whole \.tar file"):
        data.load(str(tmp_path / "s.tar"))


def test_images_that_would_exceed_pillows_limit_are_refused(tmp_path: Path) -> None:
    shards(tmp_path, 10)
    with pytest.raises(InputError, match=r"119999999x100000000|100000000x120000000 pixels.*limit"):
        data.load(str(tmp_path / "s-00.tar"), resize=100_000_000)


@pytest.mark.parametrize("on_disk", [False, True], ids=["in memory", "on disk"])
def test_images_and_classes_are_those_that_were_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_disk: bool
) -> None:
    levels = shards(tmp_path)
    monkeypatch.setattr(stored, "IN_MEMORY", 0 if on_disk else 1)
    found = data.load(str(tmp_path / "s-{00..02}.tar"))
    assert isinstance(found.train, Stored) == on_disk
    assert (len(found.train), len(found.test)) == (27, 3)
    classes = listed(found.train_labels) + listed(found.test_labels)
    assert sorted(classes) == list(range(30))
    images = torch.cat([found.train[:], found.test[:]])
    assert torch.equal(images, torch.from_numpy(levels)[classes])
    index = torch.tensor([20, 3, 3, 11])
    assert torch.equal(found.train[index], torch.from_numpy(levels)[classes][index])


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "bmp", "ppm"])
def test_forms_of_archives_and_of_images(tmp_path: Path, kind: str, form: int) -> None:
    folder = "a" * 80 + "/" + "b" * 80  # longer than a header's own field
    contents = {f"{folder}/{i}.{kind}": image(noise(i, 8, 9, 3), kind) for i in range(20)}
    found = data.load(str(tar(tmp_path / "s.tar", contents, form)))
    (tmp_path / "images").mkdir()
    for name, content in contents.items():
        (tmp_path / "images" / name.rpartition("/")[2]).write_bytes(content)
    wanted = data.load(str(tmp_path / "images"))
    assert found.train.shape == (18, 3, 8, 9)
    both = [{bytes(i.numpy()) for i in torch.cat([d.train, d.test])} for d in (found, wanted)]
    assert both[0] == both[1]
    assert len(both[0]) == 20
    assert found.train_labels is None


@pytest.mark.parametrize("on_disk", [False, True], ids=["in memory", "on disk"])
@pytest.mark.parametrize(
    "kind", ["uint8 (3, 4, 4)", "float32 (7,)", ">f8 (4, 5)", "uint8 (3, 4, 5) F"]
)
def test_arrays(tmp_path: Path, kind: str, on_disk: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    dtype, _, rest = kind.partition(" ")
    shape = tuple(int(n) for n in rest.strip("F ()").split(",") if n)
    arrays = [noise(i, *shape).astype(dtype) for i in range(20)]
    order = np.asfortranarray if rest.endswith("F") else np.ascontiguousarray
    contents = {f"{i:02}.npy": numbers(order(a)) for i, a in enumerate(arrays)}
    monkeypatch.setattr(stored, "IN_MEMORY", 0 if on_disk else 1)
    found = data.load(str(tar(tmp_path / "s.tar", contents)))
    assert found.train.dtype == (torch.uint8 if dtype == "uint8" else torch.float32)
    whole = torch.cat([found.train[:], found.test[:]]).double().numpy()
    assert whole.shape == (20, *(shape if len(shape) != 2 else (1, *shape)))
    wanted = sorted(array.astype(float).tobytes() for array in arrays)
    assert sorted(row.astype(float).tobytes() for row in whole) == wanted


class Hostile:
    """Unpickled, it leaves a file."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return (open, ("executed", "w"))


def link(path: Path) -> None:
    with tarfile.open(path / "s.tar", "w") as shard:
        info = tarfile.TarInfo("0.png")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        shard.addfile(info)


def packed(path: Path) -> None:
    shards(path, 10)
    (path / "s.tar").write_bytes(gzip.compress((path / "s-00.tar").read_bytes()))
    (path / "s-00.tar").unlink()


def cut_short(path: Path) -> None:
    shards(path, 10)
    content = (path / "s-00.tar").read_bytes()
    (path / "s.tar").write_bytes(content[: len(content) // 2 // 512 * 512 + 100])


def cut_in_image(path: Path) -> None:
    shards(path, 10)
    content = (path / "s-00.tar").read_bytes()
    (path / "s.tar").write_bytes(content[: content.rindex(b"IEND")])


def no_end(path: Path) -> None:
    """Cut where a member begins."""
    shards(path, 10)
    content = (path / "s-00.tar").read_bytes()
    (path / "s.tar").write_bytes(content[: content.index(b"a/0007.png")])


def some(**contents: bytes) -> Callable[[Path], None]:
    """A shard of ten images and more; of a suffix two underscores are the dot."""
    more = {name.replace("__", "."): content for name, content in contents.items()}
    images = {f"{i}.png": image(noise(i, 4, 4)) for i in range(10)}
    return lambda path: bool(tar(path / "s.tar", {**images, **more})) and None


PICKLED = pickle.dumps(Hostile())
GREY = image(noise(50, 4, 4))
LARGE = b"\x93NUMPY\x01\x00v\x00" + (
    b"{'descr': '|u1', 'fortran_order': False, 'shape': (9999999, 99999, 9)}".ljust(117) + b"\n"
)
OBJECTS = numbers(np.zeros((2, 2)))[:128].replace(b"'<f8'", b"'|O' ") + PICKLED

BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: None, "there is no shard"),
    "empty": (lambda path: tar(path / "s.tar", {}), "holds no images"),
    "text": (lambda path: (path / "s.tar").write_text("no archive"), "is not a whole .tar file"),
    "compressed": (packed, "gunzip it first"),
    "cut short": (cut_short, "cut short or damaged at byte"),
    "cut in an image": (cut_in_image, "cut short, in a/0009.png"),
    "no end": (no_end, "cut short or damaged at byte"),
    "link": (link, "0.png is a link"),
    "pickle": (some(x__pyd=PICKLED), "x.pyd is refused: shards may hold images (.jpg"),
    "torch": (some(x__pth=PICKLED), "x.pth is refused"),
    "pickled class": (some(x__png=GREY, x__cls=PICKLED), "x.cls is no whole number"),
    "large class": (some(x__png=GREY, x__cls=b"9" * 25), "x.cls is no whole number"),
    "objects": (lambda path: tar(path / "s.tar", {"0.npy": OBJECTS}), "0.npy holds no numbers"),
    "pickled array": (lambda path: tar(path / "s.tar", {"0.npy": PICKLED}), "0.npy cannot be read"),
    "large array": (lambda path: tar(path / "s.tar", {"0.npy": LARGE}), "0.npy is not whole"),
    "class alone": (some(x__cls=b"3"), ": x has a class and no image"),
    "few classes": (some(x__png=GREY, x__cls=b"3"), "some images have a class and some none"),
    "two images": (some(x__png=GREY, x__jpg=GREY), "x.jpg is beside x.png"),
    "array beside": (some(x__npy=numbers(noise(0, 4, 4))), "x.npy is beside images"),
    "no image": (some(x__png=b"text"), "x.png is not an image"),
    "another size": (some(x__png=image(noise(0, 5, 4))), "x.png is 4x5 pixels"),
    "half an image": (some(x__png=GREY[:-30]), "x.png cannot be read: not whole"),
    "other arrays": (
        lambda path: tar(
            path / "s.tar", {"0.npy": numbers(noise(0, 4, 4)), "x.npy": numbers(noise(0, 4, 5))}
        ),
        "0.npy is uint8 (4, 4)",
    ),
    "one": (lambda path: tar(path / "s.tar", {"0.png": GREY}), "1 images are too few"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_shards_are_refused_in_a_line(
    mistake: Callable[..., str], tmp_path: Path, case: str
) -> None:
    make, words = BAD[case]
    make(tmp_path)
    said = mistake("fit", "--data", "s.tar", *SMALL)
    assert words in said
    assert "s.tar" in said
    assert not (tmp_path / "executed").exists()


def test_shards_on_the_command_line_and_found_again(
    cli: Callable[..., object], tmp_path: Path
) -> None:
    shards(tmp_path, 60)
    pattern = "s-{00..05}.tar"
    result: object = cli("fit", "--data", pattern, "--crop", 4, "--out", "run", *SMALL)
    assert getattr(result, "exit_code", None) == 0, getattr(result, "output", None)
    scored: object = cli("evaluate", "run", "--json")
    assert getattr(scored, "exit_code", None) == 0, getattr(scored, "output", None)
    assert '"images": 6' in getattr(scored, "stdout", "")


def test_shards_are_told_apart_by_their_content(tmp_path: Path) -> None:
    shards(tmp_path, 20)
    recipe = RunConfig.of(data=str(tmp_path / "s-{00..01}.tar"))
    before = recipe.fingerprint
    assert RunConfig.of(data=str(tmp_path / "s-{00,01}.tar")).fingerprint == before
    (tmp_path / "s-01.tar").write_bytes((tmp_path / "s-00.tar").read_bytes())
    assert recipe.fingerprint != before
