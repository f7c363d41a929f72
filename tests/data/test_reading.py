"""Batches in their order, by threads, by processes, and of streams."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

from pyro_vae import VAE, InputError, TrainingError, data, fit, networks
from pyro_vae.data import Stored, batches, order, stored, stream
from pyro_vae.training import History, Stopped

from ..training.stopping import StopAt
from .pictures import folder
from .test_shards import shards

# torch tells of machines with fewer cores than there are workers here.
pytestmark = pytest.mark.filterwarnings(
    "ignore:This DataLoader will create", "ignore:This process .* is multi-threaded"
)


@pytest.fixture
def on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "IN_MEMORY", 0)
    monkeypatch.setattr("pyro_vae.plots.runs.draw_run", lambda *args: None)


@pytest.mark.usefixtures("on_disk")
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("kind", ["folder", "shards"])
def test_batches_do_not_depend_on_the_number_of_processes(
    tmp_path: Path, kind: str, workers: int
) -> None:
    if kind == "folder":
        folder(tmp_path / "images", 40, 6, 5)
    else:
        shards(tmp_path, 40)
    name = {"folder": "images", "shards": "s-{00..03}.tar"}[kind]
    images = data.load(str(tmp_path / name)).train
    assert isinstance(images, Stored)
    parts = torch.randperm(36).split(7)
    torch.manual_seed(3)
    wanted = torch.rand(2)
    torch.manual_seed(3)
    found = list(batches(images, parts, workers))
    assert torch.equal(torch.rand(2), wanted)  # nothing is drawn from training's generator
    assert len(found) == 6
    for batch, part in zip(found, parts, strict=True):
        assert torch.equal(batch, images[part])


def test_images_in_files_can_be_sent_to_a_process_that_is_spawned(
    tmp_path: Path, on_disk: None
) -> None:
    shards(tmp_path, 40)
    images = data.load(str(tmp_path / "s-{00..03}.tar")).train
    sent = pickle.loads(pickle.dumps(images))
    assert torch.equal(sent[torch.tensor([7, 2])], images[torch.tensor([7, 2])])


def trained(images: Any, **options: Any) -> tuple[dict[str, torch.Tensor], list[Any]]:
    torch.manual_seed(0)
    vae = VAE(tuple(images.shape[1:]), 2, "real-normal", networks.MLP(hidden=8))
    told = fit(vae, images, epochs=2, batch_size=8, **options)
    records = [{k: v for k, v in r.items() if k != "images_per_second"} for r in told.records]
    return vae.state_dict(), records


@pytest.mark.usefixtures("on_disk")
def test_training_does_not_depend_on_the_number_of_processes(tmp_path: Path) -> None:
    shards(tmp_path, 40)
    images = data.load(str(tmp_path / "s-{00..03}.tar")).train
    ends = [trained(images, workers=workers) for workers in (0, 2)]
    assert ends[0][1] == ends[1][1]
    assert len(ends[0][0]) > 4
    assert all(torch.equal(value, ends[1][0][name]) for name, value in ends[0][0].items())


@pytest.mark.usefixtures("on_disk")
def test_what_goes_wrong_in_a_process_is_told_as_here(tmp_path: Path) -> None:
    folder(tmp_path, 30)
    images = data.load(str(tmp_path)).train
    for path in tmp_path.iterdir():
        path.unlink()
    said = []
    for workers in (0, 2):
        with pytest.raises(InputError, match=r"\.png cannot be read: No such file") as caught:
            list(batches(images, [torch.arange(3)], workers))
        said.append(str(caught.value))
    assert said[0] == said[1]


class Fatal:
    """Rows that kill who reads them."""

    shape, dtype = (4, 3), np.dtype(np.uint8)

    def __getitem__(self, rows: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
def test_a_process_that_dies_is_told_in_a_line() -> None:
    with pytest.raises(TrainingError, match="a process that reads images died") as caught:
        list(batches(Stored(Fatal()), [torch.arange(2)], 1))
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
@pytest.mark.usefixtures("on_disk")
@pytest.mark.parametrize("kind", ["dies", "has no file"])
def test_an_error_ends_the_processes_while_it_is_held(tmp_path: Path, kind: str) -> None:
    """Left to the collector of garbage, their queues are closed in any order, by any thread."""
    images: Any = Stored(Fatal())
    if kind == "has no file":
        folder(tmp_path, 30)
        images = data.load(str(tmp_path)).train
        for path in tmp_path.iterdir():
            path.unlink()
    running = len(multiprocessing.active_children())
    gc.disable()
    try:
        with pytest.raises((InputError, TrainingError)) as caught:
            list(batches(images, [torch.arange(2)] * 9, 2))
        assert len(multiprocessing.active_children()) == running
    finally:
        gc.enable()
    assert caught.value.__traceback__ is not None


class Counted(IterableDataset[Any]):
    """Images of one number each, and how many were read since the beginning."""

    def __init__(self, count: int, kind: str = "plain") -> None:
        self.count, self.kind, self.read = count, kind, 0

    def __iter__(self) -> Iterator[Any]:
        self.read = 0
        for i in range(self.count):
            self.read += 1
            image = torch.full((2, 3, 3), i, dtype=torch.int32)
            if self.kind == "noisy":
                image = image + torch.randint(1000, ()) * 10_000
            yield (image, 7) if self.kind == "labelled" else image


class ByNumber(Dataset[Any]):
    """The same, map-style."""

    def __getitem__(self, i: int) -> Any:
        return torch.full((2, 3, 3), i, dtype=torch.int32), 7

    def __len__(self) -> int:
        return 100


SOURCES: dict[str, Any] = {
    "images": lambda: Counted(100),
    "labelled": lambda: Counted(100, "labelled"),
    "loader": lambda: DataLoader(Counted(100, "labelled"), batch_size=7),
    "unbatched": lambda: DataLoader(Counted(100), batch_size=None),
    "processes": lambda: DataLoader(ByNumber(), batch_size=9, num_workers=2),
    "batches": lambda: torch.arange(100).int().view(10, 10, 1, 1, 1).expand(10, 10, 2, 3, 3),
}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("buffer", [1, 13, 1000])
def test_a_stream_gives_every_image_once_an_epoch(source: str, buffer: int) -> None:
    images = stream(SOURCES[source](), images=90, buffer=buffer)
    assert images.shape == (90, 2, 3, 3)
    for _ in range(2):
        index = order(images)
        found = torch.cat(list(batches(images, index.split(8))))
        assert torch.equal(found[:, 0, 0, 0].long(), index)
        assert sorted(index.tolist()) == list(range(90))
        # Where windows are short, no image is trained on far from its place.
        assert int((index - torch.arange(90)).abs().max()) < buffer
    assert buffer == 1 or index.tolist() != list(range(90))


def test_windows_begin_elsewhere_in_every_epoch() -> None:
    images = stream(Counted(100), images=100, buffer=10)
    firsts = [int(order(images)[:10].max()) for _ in range(20)]
    assert len(set(firsts)) > 3


@pytest.mark.parametrize("skipped", [0, 5, 11])
def test_a_stream_goes_on_where_it_was_and_keeps_no_more_than_two_windows(skipped: int) -> None:
    source = Counted(1000)
    images = stream(source, images=1000, buffer=50)
    most, rows = 0, images._rows
    parts = order(images).split(20)[skipped:]
    for batch, part in zip(batches(images, parts), parts, strict=True):
        assert torch.equal(batch[:, 1, 2, 2].long(), part)
        most = max(most, len(rows._kept))  # type: ignore[attr-defined]
    assert source.read == 1000
    assert 50 <= most <= 2 * 50


def test_the_beginning_is_looked_at_without_a_new_start() -> None:
    source = Counted(1000)
    images = stream(source, images=600, buffer=300)
    found = batches(images, order(images).split(300))
    next(found)
    before = source.read
    assert images[:250][:, 0, 0, 0].tolist() == list(range(250))
    assert source.read == before
    next(found)
    assert before < source.read <= 600


def test_a_streams_noise_is_its_own_and_the_same_in_every_epoch() -> None:
    images = stream(Counted(40, "noisy"), images=40, buffer=40)
    torch.manual_seed(4)
    wanted = torch.rand(3)
    torch.manual_seed(4)
    assert torch.equal(images[:40], images[:40])
    both = [torch.cat(list(batches(images, torch.arange(40).split(8)))) for _ in range(2)]
    assert torch.equal(both[0], both[1])
    assert torch.equal(torch.rand(3), wanted)
    assert len(both[0].unique()) > 20


@pytest.mark.parametrize("step", [3, 7])
@pytest.mark.parametrize("source", ["noisy", "loader"])
def test_training_on_a_stream_is_resumed_bit_identical(
    source: str, step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyro_vae.plots.runs.draw_run", lambda *args: None)

    def images() -> Any:
        made = Counted(60, source)
        return stream(DataLoader(made, 7) if source == "loader" else made, images=36, buffer=12)

    expected, records = trained(images(), lr=1e-3)
    with pytest.raises(Stopped):
        trained(images(), out=tmp_path, progress=StopAt(step))
    found, again = trained(images(), out=tmp_path, resume=True)
    assert again == records
    assert len(History.read(tmp_path / "metrics.jsonl").records) == len(records)
    assert len(expected) > 4
    assert all(torch.equal(value, found[name]) for name, value in expected.items())


class Changing(IterableDataset[Any]):
    """Images of which one is of another shape."""

    def __iter__(self) -> Iterator[Any]:
        return (torch.zeros(1, 2, 2 + (i == 5)) for i in range(9))


@pytest.mark.parametrize(
    ("source", "images", "words"),
    [
        ([], 3, "the stream is empty"),
        ([{"image": 1}], 3, "item 0 of the stream is no image"),
        ([torch.zeros(())], 3, r"must give images \(C, H, W\)"),
        ([torch.zeros(2)], 0, "images of a stream must be a positive integer, got 0"),
    ],
    ids=["empty", "dict", "number", "none"],
)
def test_streams_that_are_refused(source: Any, images: int, words: str) -> None:
    with pytest.raises(InputError, match=words):
        stream(source, images)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (Counted(40), "the stream ended after 40 images; images= says 50"),
        (Changing(), r"item 0 of the stream is float32 \(1, 2, 2\), item 5 float32 \(1, 2, 3\)"),
    ],
    ids=["short", "shapes"],
)
def test_streams_that_fail_on_the_way(source: Any, words: str) -> None:
    images = stream(source, 50)
    with pytest.raises(InputError, match=words):
        list(batches(images, order(images).split(10)))


def test_a_stream_has_no_part_to_hold_out() -> None:
    with pytest.raises(InputError, match="a stream cannot be divided"):
        trained(stream(Counted(60), 60), validation=0.1)
