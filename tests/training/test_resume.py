"""A run that was stopped, or killed, ends as if nothing had happened."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import textwrap
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from pyro_vae import VAE, InputError, fit, load
from pyro_vae.config import FitConfig
from pyro_vae.training import History, Stopped
from pyro_vae.training.checkpoints import FOLDER, Checkpoints
from pyro_vae.training.progress import Silent

from .models import small
from .stopping import StopAt, told

pytestmark = pytest.mark.usefixtures("no_pictures")

OPTIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "schedules": {"beta": "linear:0,1,steps=9", "lr_schedule": "cosine", "lr_warm_up": 4},
    "controller": {"target_kl": 3.0, "clip": 1.0, "weight_decay": 0.1},
    "average": {"average": 0.9, "optimizer": "rmsprop", "augment": ("shift",)},
    "best": {"keep_best": True, "lr_schedule": "plateau", "patience": 2, "optimizer": "sgd"},
    "from data": {"init_from_data": True, "average": 0.5, "elbo": "iwae:3", "optimizer": "adamw"},
}


def made() -> VAE:
    torch.manual_seed(5)
    return small("normal-learned-sigma", hidden=12, dropout=0.2)


@pytest.mark.parametrize("step", [1, 4, 6, 9])
@pytest.mark.parametrize("name", OPTIONS)
def test_a_resumed_run_ends_bit_identical(
    name: str, step: int, few: Tensor, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"epochs": 3, "batch_size": 16, "lr": 1e-2, **OPTIONS[name]}
    whole, again = made(), made()
    expected = fit(whole, few[:64], few[64:80], **settings)
    with pytest.raises(Stopped):
        fit(again, few[:64], few[64:80], out=tmp_path, progress=StopAt(step), **settings)
    assert len(list((tmp_path / FOLDER).iterdir())) > 0
    torch.manual_seed(99)
    fresh = small("normal-learned-sigma", hidden=12, dropout=0.2)
    found = fit(fresh, few[:64], few[64:80], out=tmp_path, resume=True, **settings)
    assert told(found) == told(expected)
    assert told(History.read(tmp_path / "metrics.jsonl")) == told(expected)
    assert len(found.steps) == 12 or name == "best"
    for key, value in whole.state_dict().items():
        assert torch.equal(value, fresh.state_dict()[key]), key
    assert not (tmp_path / FOLDER).exists()


CHILD = """
    import os, sys
    from pathlib import Path
    import torch
    import pyro_vae as pv
    from pyro_vae.training import checkpoints

    torch.set_num_threads(1)
    out, die_in_write = Path(sys.argv[1]), int(sys.argv[2])
    writes = 0
    flush = checkpoints._flush
    def flush_or_die(path):
        global writes
        writes += 1
        if writes == die_in_write:
            os.kill(os.getpid(), 9)
        flush(path)
    checkpoints._flush = flush_or_die
    torch.manual_seed(0)
    images = torch.randint(256, (80, 1, 8, 8), dtype=torch.uint8)
    vae = pv.VAE((1, 8, 8), 3, "normal-learned-sigma", pv.networks.MLP(hidden=8))
    class Told:
        start = epoch = warn = lambda self, *a: None
        def step(self, step):
            print(step, flush=True)
    pv.fit(vae, images, epochs=4, batch_size=8, out=out, resume=True, checkpoint="3",
           progress=Told())
"""


def child(out: Path, die_in_write: int = 0, kill_after: int | None = None) -> tuple[int, list[int]]:
    """Train until the end or the kill; exit status and steps done."""
    command = [sys.executable, "-c", textwrap.dedent(CHILD), str(out), str(die_in_write)]
    steps = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            steps.append(int(line))
            if len(steps) == kill_after:
                process.send_signal(signal.SIGKILL)
    return process.returncode, steps


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_run_ends_bit_identical(tmp_path: Path) -> None:
    """Two kills at random steps and two inside the writing of a checkpoint."""
    assert child(tmp_path / "whole") == (0, list(range(1, 41)))
    rng, runs = random.Random(7), []
    for attempt in range(4):
        in_write = attempt % 2 == 1
        status, steps = child(
            tmp_path / "killed",
            rng.randint(3, 6) if in_write else 0,
            None if in_write else rng.randint(4, 7),
        )
        assert status == -signal.SIGKILL
        assert steps
        runs.append(steps)
    status, steps = child(tmp_path / "killed")
    assert status == 0
    assert steps[-1] == 40
    runs.append(steps)
    # Checkpoints every 3 steps: no more than those since the last one are lost, and one whose
    # writing was cut short.
    lost = [before[-1] + 1 - after[0] for before, after in pairwise(runs)]
    assert max(lost) <= 6
    weights = [load_file(tmp_path / name / "model.safetensors") for name in ("whole", "killed")]
    assert weights[0].keys() == weights[1].keys()
    for key, value in weights[0].items():
        assert torch.equal(value, weights[1][key]), key


@pytest.fixture
def stopped(few: Tensor, tmp_path: Path) -> Path:
    """A run of 4 steps an epoch, stopped at step 6, with checkpoints of steps 4 and 6."""
    with pytest.raises(Stopped):
        fit(
            made(),
            few[:64],
            epochs=3,
            batch_size=16,
            out=tmp_path,
            progress=StopAt(6),
            checkpoint="2",
        )
    return tmp_path


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


class Told(Silent):
    """Keeps warnings and steps."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.steps: list[int] = []

    def warn(self, message: str) -> None:
        """Keep it."""
        self.warnings.append(message)

    def step(self, step: int) -> None:
        """Keep it."""
        self.steps.append(step)


@pytest.mark.parametrize("harm", [cut, flip], ids=["cut short", "a bit flipped"])
def test_a_damaged_checkpoint_is_passed_over_with_words(
    stopped: Path, harm: Any, few: Tensor
) -> None:
    last = max((stopped / FOLDER).iterdir())
    harm(last)
    watcher = Told()
    fit(
        made(),
        few[:64],
        epochs=3,
        batch_size=16,
        out=stopped,
        resume=True,
        progress=watcher,
        checkpoint="2",
    )
    assert watcher.steps[0] == 5
    assert [last.name in message for message in watcher.warnings[:1]] == [True]
    assert load(stopped).latent_dim == made().latent_dim


def test_where_no_checkpoint_is_whole_it_says_so(stopped: Path, few: Tensor) -> None:
    files = list((stopped / FOLDER).iterdir())
    assert len(files) == 2
    for path in files:
        flip(path)
    with pytest.raises(InputError, match=r"no checkpoint in .* is whole"):
        fit(made(), few[:64], epochs=3, batch_size=16, out=stopped, resume=True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"lr": 1e-4}, "trained with lr 0.001, not 0.0001"),
        ({"epochs": 5}, "trained with epochs 3, not 5"),
        ({"images": 48}, "trained on 64 images, these are 48"),
        ({"hidden": 16}, "a run of another model"),
        ({"out": None}, "resume needs out="),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_run_goes_on_with_what_it_began_with(
    stopped: Path, few: Tensor, options: dict[str, Any], words: str
) -> None:
    before = {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()}
    settings: dict[str, Any] = {"epochs": 3, "batch_size": 16, "out": stopped, **options}
    images, hidden = settings.pop("images", 64), settings.pop("hidden", 12)
    vae = small("normal-learned-sigma", hidden=hidden, dropout=0.2)
    with pytest.raises(InputError, match=words):
        fit(vae, few[:images], resume=True, **settings)
    assert {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("text", ["0", "-3", "often", "-1s", "1.5", ""])
def test_a_checkpoints_interval_is_checked(text: str) -> None:
    with pytest.raises(InputError, match="checkpoint must be"):
        FitConfig.of(checkpoint=text)


def test_a_checkpoint_holds_any_tree(tmp_path: Path) -> None:
    tree = {
        "tensor": {"tuple": [1, None]},
        "numbers": (1, -0.1, float("inf"), True),
        "by number": {0: torch.arange(3), 7: {"a": torch.tensor(2.5)}},
        "empty": [{}, (), []],
    }
    kept = Checkpoints(tmp_path, keep=2)
    for step in (3, 20, 100):
        kept.write(step, tree)
    assert [path.name[5:13] for path in sorted((tmp_path / FOLDER).iterdir())] == [
        "00000020",
        "00000100",
    ]
    found = kept.latest()
    assert found is not None
    step, read = found
    assert step == 100
    assert read["numbers"] == tree["numbers"]
    assert read["empty"] == tree["empty"]
    assert read["tensor"] == {"tuple": [1, None]}
    assert torch.equal(read["by number"][0], torch.arange(3))
    assert read["by number"][7]["a"].item() == 2.5
    assert read["by number"][7]["a"].dim() == 0
