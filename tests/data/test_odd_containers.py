"""Odd containers through `fit` and `evaluate`: each is read as meant, or one line says why not.

What is right is compared with the same numbers as a plain array.
"""

from __future__ import annotations

import array
from collections import UserDict, deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    StackDataset,
    Subset,
    TensorDataset,
)

import pyro_vae as pv
from pyro_vae import InputError
from pyro_vae.data import as_images

X = np.random.default_rng(0).random((12, 4)).astype(np.float32)
LEVELS = np.random.default_rng(1).integers(0, 256, (12, 6, 5), dtype=np.uint8)


class Dictionaries(Dataset[Any]):
    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"image": X[index], "label": index}


class Others:
    """As a data set of another library: no class of torch's, items by their names."""

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index >= len(X):
            raise IndexError(index)
        return {"pixel_values": X[index], "label": index}


class Endless(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter(map(torch.from_numpy, X))


class Labelled:
    """As xarray's and others' arrays: an array of numpy's on demand, with names of its own."""

    dims = ("row", "feature")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return X if dtype is None else X.astype(dtype)


class Lengthless(Dataset[Any]):
    def __getitem__(self, index: int) -> Any:
        return X[index]


def mapped(there: Path) -> Any:
    np.save(there / "x.npy", X)
    return np.load(there / "x.npy", mmap_mode="r")


def read_only(there: Path) -> Any:
    x = X.copy()
    x.flags.writeable = False
    return x


def scipys(there: Path) -> Any:
    from scipy.sparse import csr_matrix

    return csr_matrix(X)


def pandas(there: Path) -> Any:
    return pytest.importorskip("pandas").DataFrame(X, columns=list("abcd"))


def pandas_nullable(there: Path) -> Any:
    library = pytest.importorskip("pandas")
    return library.DataFrame(X, columns=list("abcd")).astype("Float32")


def polars(there: Path) -> Any:
    return pytest.importorskip("polars").DataFrame(X, schema=list("abcd"))


def loader(there: Path) -> Any:
    return DataLoader(TensorDataset(torch.from_numpy(X), torch.arange(12)), batch_size=5)


def given(value: Any) -> Callable[[Path], Any]:
    return lambda there: value


TENSOR = torch.from_numpy(X)
RIGHT: dict[str, Callable[[Path], Any]] = {
    "tensor": given(TENSOR),
    "double precision": given(X.astype(np.float64)),
    "list of arrays": given(list(X)),
    "list of lists": given(X.tolist()),
    "tuple of tensors": given(tuple(TENSOR)),
    "deque": given(deque(X)),
    "generator": lambda there: (row for row in X),
    "iterator of tensors": lambda there: iter(TENSOR),
    "loader": loader,
    "data set of pairs": given(TensorDataset(TENSOR, torch.arange(12))),
    "data set of dictionaries": given(Dictionaries()),
    "data set of another library": given(Others()),
    "iterable data set": given(Endless()),
    "part of a data set": given(Subset(TensorDataset(TENSOR), range(12))),
    "data sets in a row": given(
        ConcatDataset([TensorDataset(TENSOR[:5]), TensorDataset(TENSOR[5:])])
    ),
    "images and labels": given((X, np.arange(12))),
    "list of pairs": given([(row, i) for i, row in enumerate(TENSOR)]),
    "graph": given(TENSOR.clone().requires_grad_() * 1.0),
    "parameter": given(torch.nn.Parameter(TENSOR.clone())),
    "flipped": given(np.ascontiguousarray(X[::-1])[::-1]),
    "transposed": given(np.asfortranarray(X)),
    "big-endian": given(X.astype(">f4")),
    "memory map": mapped,
    "read only": read_only,
    "scipy's sparse": scipys,
    "torch's sparse": given(TENSOR.to_sparse()),
    "sparse by rows": lambda there: TENSOR.to_sparse_csr(),
    "whole mask": given(np.ma.masked_array(X, False)),
    "with names": given(Labelled()),
    "pandas": pandas,
    "pandas with gaps allowed": pandas_nullable,
    "polars": polars,
}


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
@pytest.mark.parametrize("kind", RIGHT)
def test_odd_containers_are_read_as_the_array_that_they_hold(kind: str, tmp_path: Path) -> None:
    assert np.array_equal(as_images(RIGHT[kind](tmp_path)).numpy(), X)
    scores = []
    for images in (RIGHT[kind], given(X)):
        vae = small()
        pv.fit(vae, images(tmp_path), epochs=1, seed=1)
        scores.append(pv.evaluate(vae, images(tmp_path), parts=())["elbo"])
    assert scores[0] == scores[1]


def small(shape: tuple[int, ...] = (4,)) -> pv.VAE:
    torch.manual_seed(0)
    return pv.VAE(shape, 1, "real-normal", pv.networks.MLP(hidden=4))


@pytest.mark.parametrize(
    ("images", "wanted"),
    [
        ([Image.fromarray(levels) for levels in LEVELS], LEVELS),
        (LEVELS > 128, (LEVELS > 128).astype(np.float32)),
        (LEVELS.astype(np.int64) + 2**40, LEVELS.astype(np.float32) + 2**40),
        (LEVELS.astype(np.uint16), LEVELS.astype(np.float32)),
        (torch.from_numpy(LEVELS).to(torch.bfloat16), torch.from_numpy(LEVELS).bfloat16().float()),
    ],
    ids=["pictures", "truth values", "long integers", "16 bits", "bfloat16"],
)
def test_numbers_of_any_kind_are_levels_or_floats(images: Any, wanted: Any) -> None:
    found = as_images(images)
    assert found.shape == (12, 1, 6, 5)
    assert np.array_equal(found[:, 0].numpy(), np.asarray(wanted))
    assert (found.dtype == torch.uint8) == (np.asarray(wanted).dtype == np.uint8)


def text_frame(library: str) -> Callable[[], Any]:
    columns = {"a": [1.0, 2.0] * 6, "city": ["Rome", "Oslo"] * 6}
    return lambda: pytest.importorskip(library).DataFrame(columns)


def gap_frame() -> Any:
    return pytest.importorskip("pandas").DataFrame({"a": [1.0, None] * 6, "b": [1.0] * 12})


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "masked": (lambda: np.ma.masked_array(X, X > 0.9), "images are masked"),
    "ragged": (lambda: [[1.0, 2.0], [3.0]], "not of one shape"),
    "ragged tensors": (lambda: [torch.ones(3), torch.ones(4)], "not of one shape"),
    "objects": (lambda: np.array([[1, None]], object), "an array of object"),
    "long integers": (lambda: [[10**30] * 4] * 12, "integers above 64 bits"),
    "complex": (lambda: X + 1j, "complex numbers"),
    "complex tensor": (lambda: TENSOR + 1j, "complex64"),
    "strings": (lambda: [["a", "b", "c", "d"]] * 12, "an array of texts"),
    "bytes": (lambda: [b"x"] * 12, "an array of bytes"),
    "records": (lambda: np.zeros(12, [("a", "f4")]), "structured_to_unstructured"),
    "dates": (lambda: np.zeros((12, 4), "M8[s]"), "dates"),
    "nan": (lambda: np.where(X > 0.9, np.nan, X), "images must be finite"),
    "infinite": (lambda: np.where(X > 0.9, np.inf, X), "images must be finite"),
    "beyond float32": (lambda: X.astype(np.float64) * 1e300, "images must be finite"),
    "nothing": (lambda: None, "images must be numbers"),
    "a number": (lambda: 3.0, "images must have shape"),
    "empty list": (list, "images"),
    "empty array": (lambda: X[:0], "there are no images"),
    "empty generator": (lambda: iter(()), "images"),
    "empty data set": (lambda: TensorDataset(TENSOR[:0]), "the data set is empty"),
    "mapping": (lambda: {"a": X}, "got parts: a"),
    "another mapping": (lambda: UserDict(a=X), "got parts: a"),
    "set": (lambda: {1.0, 2.0}, "images must be numbers"),
    "function": (lambda: print, "images must be numbers"),
    "path": (lambda: "digits.npy", "pyro_vae.data.load"),
    "a path object": (lambda: Path("digits.npy"), "pyro_vae.data.load"),
    "data set": (lambda: pv.data.Data(TENSOR, None, TENSOR, None), "give its train or its test"),
    "no length": (Lengthless, "has no length"),
    "pictures in pairs": (
        lambda: StackDataset([Image.fromarray(x) for x in LEVELS]),
        "PILToTensor",
    ),
    "two images in a dictionary": (
        lambda: [{"left": X[0], "right": X[0]}] * 12,
        "which is the image is not told",
    ),
    "other shape": (lambda: LEVELS, "images must have shape"),
    "pandas with texts": (text_frame("pandas"), "read_table(frame)"),
    "polars with texts": (text_frame("polars"), "read_table(frame)"),
    "pandas with gaps": (gap_frame, "images must"),
    "array of bytes": (lambda: array.array("d", [1.0, 2.0]), "images must have shape"),
}


TAKERS: dict[str, Callable[[Any], Any]] = {
    "as_images": lambda images: as_images(images, (4,)),
    "fit": lambda images: pv.fit(small(), images, epochs=1),
    "evaluate": lambda images: pv.evaluate(small(), images),
}


@pytest.mark.parametrize("taker", TAKERS)
@pytest.mark.parametrize("kind", REFUSED)
def test_odd_containers_are_refused_in_a_line(kind: str, taker: str) -> None:
    make, words = REFUSED[kind]
    with pytest.raises(InputError) as caught:
        TAKERS[taker](make())
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_frame_is_the_parts_of_a_model_of_several_things() -> None:
    frame = pytest.importorskip("polars").DataFrame({"a": X[:, 0], "b": X[:, 1]})
    found: Any = as_images(frame, dict.fromkeys("ab", (1,)))
    columns: dict[str, Tensor] = found.x
    assert np.array_equal(torch.cat([columns["a"], columns["b"]], 1).numpy(), X[:, :2])
    parts = dict.fromkeys("ab", "real-normal")
    pv.fit(pv.VAE(dict.fromkeys("ab", (1,)), 1, parts, pv.networks.MLP(hidden=4)), frame, epochs=1)
