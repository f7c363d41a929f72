"""Files of other packages: HDF5, Zarr, Parquet, Feather, saved data sets, .npz of other names."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result
from PIL import Image

from pyro_vae import InputError, data
from pyro_vae.data import stored, stores

from .pictures import listed, noise

IMAGES = np.stack([noise(i, 9, 8, 3) for i in range(30)])
LABELS = np.arange(30) % 3
FIRST = IMAGES.transpose(0, 3, 1, 2)


def contents(images: Any) -> list[bytes]:
    return sorted(image.tobytes() for image in np.asarray(images))


def whole(found: data.Data) -> list[bytes]:
    """Every image of the two parts."""
    return sorted(contents(found.train[:].numpy()) + contents(found.test[:].numpy()))


# ------------------------------------------------------------------------- names of arrays


@pytest.mark.parametrize(
    ("names", "validation"),
    [
        (("x_train", "y_train", "x_test", "y_test", "x_val", "y_val"), True),
        (("train_images", "train_labels", "test_images", "test_labels"), False),
        (("X_train", "Y_train", "X_dev", "Y_dev"), False),
        (("data_training", "target_training", "data_testing", "target_testing"), False),
    ],
    ids=["keras", "medmnist", "capitals", "long"],
)
def test_arrays_are_known_by_what_people_call_them(
    tmp_path: Path, names: tuple[str, ...], validation: bool
) -> None:
    counts = {"train": 30, "test": 7, "val": 5}
    arrays: dict[str, Any] = {}
    for name in names:
        part = next(p for p in counts if p in name.lower() or (p == "test" and "dev" in name))
        labels = any(word in name.lower() for word in ("y_", "labels", "target"))
        arrays[name] = (LABELS[:, None] if labels else IMAGES)[: counts[part]]
    np.savez(tmp_path / "a.npz", extra=np.zeros(3), **arrays)
    found = data.load(str(tmp_path / "a.npz"))
    assert np.array_equal(found.train.numpy(), FIRST)
    assert np.array_equal(found.test.numpy(), FIRST[:7])
    assert listed(found.train_labels) == LABELS.tolist()
    assert listed(found.test_labels) == LABELS[:7].tolist()
    assert (found.validation is not None) == validation
    assert found.passed_over == "arrays extra"


def test_labels_of_several_columns_are_no_classes(tmp_path: Path) -> None:
    several = np.zeros((30, 14), np.uint8)
    np.savez(tmp_path / "a.npz", images=IMAGES, labels=several)
    found = data.load(str(tmp_path / "a.npz"))
    assert found.train_labels is None
    assert found.passed_over == "arrays labels (of 14 columns)"


# ------------------------------------------------------------------------------ HDF5, Zarr


def hdf5(there: Path) -> Path:
    h5py = pytest.importorskip("h5py")
    with h5py.File(there / "a.h5", "w") as file:
        file["cells/images"], file["cells/labels"] = IMAGES, LABELS
        file["weights"] = np.zeros(3)
    return there / "a.h5"


def zarr(there: Path) -> Path:
    library = pytest.importorskip("zarr")
    library.save_group(there / "a.zarr", images=IMAGES, labels=LABELS, weights=np.zeros(3))
    return there / "a.zarr"


@pytest.mark.parametrize("make", [hdf5, zarr])
@pytest.mark.parametrize("on_disk", [False, True])
def test_arrays_of_a_file_are_read_and_stay_there_if_large(
    make: Callable[[Path], Path], on_disk: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(tmp_path)
    monkeypatch.setattr(stored, "IN_MEMORY", 0 if on_disk else 0.25)
    found = data.load(str(path))
    assert isinstance(found.train, stored.Stored) == on_disk
    monkeypatch.setattr(stored, "IN_MEMORY", 0.25)
    assert whole(found) == contents(FIRST)
    index = torch.tensor([5, 0, 5])
    assert torch.equal(found.train[index], found.train[:][index])
    by_content = {image.tobytes(): label for image, label in zip(FIRST, LABELS, strict=True)}
    assert [by_content[x.tobytes()] for x in found.test[:].numpy()] == listed(found.test_labels)
    assert found.passed_over == "arrays weights"
    (name,) = (n for n in stores._names(path) if n.endswith("images"))
    alone = data.load(f"{path}:{name}")
    assert whole(alone) == contents(FIRST)
    assert alone.train_labels is None


@pytest.mark.parametrize("make", [hdf5, zarr])
def test_an_array_that_is_not_there_is_refused(
    make: Callable[[Path], Path], tmp_path: Path
) -> None:
    path = make(tmp_path)
    with pytest.raises(InputError, match=r"unknown array 'image'.*did you mean '.*images'"):
        data.load(f"{path}:image")
    with pytest.raises(InputError, match="there is no "):
        data.load(str(path.with_name(f"b{path.suffix}")))


def _hdf5_of_one(path: Path) -> None:
    with pytest.importorskip("h5py").File(path, "w") as file:
        file["whatever"] = IMAGES


def _zarr_of_one(path: Path) -> None:
    pytest.importorskip("zarr").save_array(path, IMAGES)


@pytest.mark.parametrize(("name", "write"), [("a.h5", _hdf5_of_one), ("a.zarr", _zarr_of_one)])
def test_a_single_array_needs_no_name(
    name: str, write: Callable[[Path], None], tmp_path: Path
) -> None:
    write(tmp_path / name)
    assert whole(data.load(str(tmp_path / name))) == contents(FIRST)


def test_names_that_do_not_say_are_listed(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["left"], file["right"] = IMAGES, IMAGES
    with pytest.raises(InputError, match=r"it holds left, right: .* give one of them, .*a.h5:NAME"):
        data.load(str(tmp_path / "a.h5"))


@pytest.mark.parametrize("words", [("data",), ("fit", "--data")], ids=["data", "fit"])
@pytest.mark.parametrize(
    ("ending", "package"),
    [(".h5", "h5py"), (".zarr", "zarr"), (".parquet", "polars"), (".feather", "polars")],
)
def test_files_that_are_none_of_their_kind_are_refused(
    ending: str,
    package: str,
    words: tuple[str, ...],
    tmp_path: Path,
    mistake: Callable[..., str],
) -> None:
    pytest.importorskip(package)
    path = tmp_path / f"a{ending}"
    path.write_bytes(b"nothing of the kind")
    assert f"{path} is not a readable {ending} file" in mistake(*words, path)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.h5", "needs h5py, which is not installed.*pyro_vae.hdf5."),
        ("a.zarr", "needs zarr, which is not installed.*pyro_vae.zarr."),
        ("a.parquet", "needs polars, or pandas with pyarrow, .*pyro_vae.tables."),
    ],
)
def test_which_extra_is_missing_is_told(
    name: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(package: str) -> Any:
        raise ImportError(f"No module named {package!r}")

    (tmp_path / name).write_bytes(b"")
    monkeypatch.setattr(stores, "import_module", none)
    monkeypatch.setattr("pyro_vae.data.frames.find_spec", lambda package: None)
    with pytest.raises(InputError, match=words) as caught:
        data.load(str(tmp_path / name))
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------- what save_to_disk writes


def saved(there: Path, images: list[bytes], labels: np.ndarray) -> Path:
    """A folder as Hugging Face's ``Dataset.save_to_disk`` lays it out."""
    pa = pytest.importorskip("pyarrow")
    there.mkdir(parents=True)
    cells = [{"bytes": content, "path": None} for content in images]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    text = [f"picture {i}" for i in range(len(images))]
    table = pa.table(
        {"image": pa.array(cells, kind), "label": pa.array(labels), "caption": pa.array(text)}
    )
    path = str(there / "data-00000-of-00001.arrow")
    with pa.OSFile(path, "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    features = {
        "image": {"_type": "Image"},
        "label": {"names": ["a", "b", "c"], "_type": "ClassLabel"},
        "caption": {"dtype": "string", "_type": "Value"},
    }
    (there / "dataset_info.json").write_text(json.dumps({"features": features}))
    state = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}], "_split": None}
    (there / "state.json").write_text(json.dumps(state))
    return there


def png(levels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(levels).save(stream, "png")
    return stream.getvalue()


def test_a_saved_data_set_is_read(tmp_path: Path) -> None:
    pictures = [png(levels) for levels in IMAGES]
    found = data.load(str(saved(tmp_path / "one", pictures, LABELS)))
    assert whole(found) == contents(FIRST)
    assert found.passed_over == "columns caption"
    by_content = {image.tobytes(): label for image, label in zip(FIRST, LABELS, strict=True)}
    assert [by_content[x.tobytes()] for x in found.train.numpy()] == listed(found.train_labels)
    several = tmp_path / "several"
    saved(several / "train", pictures, LABELS)
    saved(several / "validation", pictures[:4], LABELS[:4])
    (several / "dataset_dict.json").write_text('{"splits": ["train", "validation"]}')
    found = data.load(str(several))
    assert np.array_equal(found.train.numpy(), FIRST)
    assert np.array_equal(found.test.numpy(), FIRST[:4])


def test_damaged_saved_data_sets_are_refused(tmp_path: Path, mistake: Callable[..., str]) -> None:
    path = saved(tmp_path / "one", [png(levels) for levels in IMAGES], LABELS)
    (path / "data-00000-of-00001.arrow").write_bytes(b"nothing")
    assert "data-00000-of-00001.arrow cannot be read" in mistake("data", path)
    (path / "state.json").write_text("{")
    assert "state.json cannot be read" in mistake("fit", "--data", path)


def test_what_datasets_itself_saves_is_read(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = {"image": [Image.fromarray(x) for x in IMAGES], "label": LABELS.tolist()}
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b", "c"])}
    )
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "one")
    assert whole(data.load(str(tmp_path / "one"))) == contents(FIRST)


# ----------------------------------------------------------------------------------- paths


def test_a_tilde_is_the_users_folder(
    cli: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_pictures: None
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    np.save(tmp_path / "a.npy", IMAGES[..., 0])
    assert whole(data.load("~/a.npy")) == contents(IMAGES[:, None, ..., 0])
    (tmp_path / "o.toml").write_text('data = "~/a.npy"\n')
    small = ("--epochs", 1, "--hidden", 4, "--latent-dim", 1)
    for words in (
        ("data", "~/a.npy"),
        ("fit", "--data=~/a.npy", "--out=~/run", *small),
        ("fit", "--config", "~/o.toml", "--out", "~/again", *small),
        ("evaluate", "~/run"),
        ("reconstruct", "~/run", "--out", "~/r.png"),
    ):
        done = cli(*words)
        assert done.exit_code == 0, done.output
    assert {path.name for path in tmp_path.iterdir()} == {
        *("a.npy", "o.toml", "run", "again", "r.png")
    }
    import pyro_vae as pv

    assert pv.load("~/run").data_shape == (1, 9, 8)


class _Planted:
    """What leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize(
    "packed",
    [
        {"compressor": {"id": "pickle"}},
        {"filters": [{"id": "pickle"}]},
        {"filters": [{"id": "delta", "dtype": "|u1"}, {"id": "pickle"}]},
        {"dtype": "|O", "filters": [{"id": "pickle"}]},
    ],
    ids=["compressor", "filter", "last filter", "objects"],
)
def test_a_zarr_of_pickles_is_refused_before_any_is_read(
    tmp_path: Path, packed: dict[str, Any]
) -> None:
    pytest.importorskip("zarr")
    mark, folder = tmp_path / "mark", tmp_path / "a.zarr"
    folder.mkdir()
    known = {"chunks": [20, 4, 4], "compressor": None, "dtype": "|u1", "fill_value": 0,
             "filters": None, "order": "C", "shape": [20, 4, 4], "zarr_format": 2}  # fmt: skip
    (folder / ".zarray").write_text(json.dumps(known | packed))
    code = pickle.dumps(_Planted(mark))
    (folder / "0.0.0").write_bytes(code)
    with pytest.raises(InputError, match=r"a\.zarr is not a readable"):
        data.load(str(folder))
    assert not mark.exists()
    pickle.loads(code)
    assert mark.exists()  # so it would have been
