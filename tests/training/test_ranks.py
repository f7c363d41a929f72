"""Several processes that train one model."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from pyro_vae import load

pytestmark = pytest.mark.slow

CHILD = """
    import json
    import sys
    from pathlib import Path
    import torch
    from torch import distributed
    from safetensors.torch import save_file
    import pyro_vae as pv
    from pyro_vae.training.progress import Silent

    torch.set_num_threads(1)
    folder, out, rank, size, same, stop = Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:])
    if size > 1:
        store = distributed.FileStore(str(folder / (out + ".store")), size)
        distributed.init_process_group("gloo", store=store, rank=rank, world_size=size)
    torch.manual_seed(3)
    images = torch.rand(72, 6, dtype=torch.float32)
    noise = torch.randn(100, 16, 2)
    if same:  # the noise of an image does not depend on who draws it
        step = -1
        def drawn(shape, dtype, device):
            global step
            step += 1
            return noise[step % 100][rank::size][:shape[0]].reshape(shape)
        torch.distributions.normal._standard_normal = drawn
    vae = pv.VAE((6,), 2, "normal", pv.networks.MLP(hidden=8))
    if rank:  # made differently, and taken over from the first process
        with torch.no_grad():
            for p in vae.parameters():
                p.add_(1)
    class Stop(Silent):
        def step(self, step):
            if step == stop:
                raise pv.training.Stopped
    try:
        history = pv.fit(vae, images, images[:8], epochs=2, batch_size=16, optimizer="sgd", lr=1e-2,
                         target_kl=1.0, out=folder / out, resume=True, progress=Stop(),
                         checkpoint="3", keep_best=False)  # by which noise is drawn, see above
    except pv.training.Stopped:
        pass
    save_file(vae.state_dict(), folder / f"{out}-{rank}.safetensors")
    (folder / f"{out}-{rank}.txt").write_text(
        "" if stop else json.dumps(
            [(r["step"], r["loss"], r["kl"], r["beta"]) for r in history.steps]))
    if size > 1:
        distributed.destroy_process_group()
"""


def train(folder: Path, out: str, size: int, same: bool = True, stop: int = 0) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(CHILD), str(folder), out]
            + [str(int(value)) for value in (rank, size, same, stop)]
        )
        for rank in range(size)
    ]
    assert [process.wait() for process in processes] == [0] * size


def weights(folder: Path, name: str) -> dict[str, Any]:
    return dict(load_file(folder / f"{name}.safetensors"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    train(folder, "one", 1)
    train(folder, "two", 2)
    return folder


def test_two_halves_of_a_batch_give_the_gradients_of_the_whole(trained: Path) -> None:
    """Ten steps of SGD, the last of each epoch on 8 images: the weights are its gradients' sum."""
    one, first, second = (weights(trained, name) for name in ("one-0", "two-0", "two-1"))
    assert len(one) > 4
    for key, value in one.items():
        assert torch.equal(first[key], second[key]), key
        torch.testing.assert_close(first[key], value, rtol=1e-5, atol=1e-5)


def test_records_are_those_of_the_whole_batch(trained: Path) -> None:
    one, first, second = (
        json.loads((trained / f"{name}.txt").read_text()) for name in ("one-0", "two-0", "two-1")
    )
    assert [row[0] for row in one] == list(range(1, 11))
    assert first == second
    for ours, theirs in zip(first, one, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)


def test_one_process_writes(trained: Path) -> None:
    lines = (trained / "two" / "metrics.jsonl").read_text().splitlines()
    assert len([line for line in lines if json.loads(line)["record"] == "step"]) == 10
    saved = load_file(trained / "two" / "model.safetensors")
    for key, value in weights(trained, "two-0").items():
        assert torch.equal(saved[key], value)


@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_a_run_goes_on_with_another_number_of_processes(
    tmp_path: Path, trained: Path, before: int, after: int
) -> None:
    train(tmp_path, "moved", before, stop=7)
    train(tmp_path, "moved", after, same=False)
    steps = [row[0] for row in json.loads((tmp_path / "moved-0.txt").read_text())]
    assert steps == list(range(1, 11))
    assert load(tmp_path / "moved").latent_dim == 2
    lines = (trained / "one" / "metrics.jsonl").read_text().splitlines()
    moved = (tmp_path / "moved" / "metrics.jsonl").read_text().splitlines()
    for ours, theirs in zip(moved[:5], lines[:5], strict=True):
        assert json.loads(ours)["loss"] == pytest.approx(json.loads(theirs)["loss"], rel=1e-4)
