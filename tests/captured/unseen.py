"""What only a check sees: nothing that the program holds changes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import torch

from .making import Step, late, simple

UNSEEN: dict[str, Callable[[], Step]] = {
    "environment": lambda: simple(
        lambda net, x: float(os.environ["PYRO_VAE_TEST"]),
        lambda net, i: os.environ.update(PYRO_VAE_TEST=str(late(i))),
    ),
    "initial_seed": lambda: simple(lambda net, x: 1.0 + torch.initial_seed() % 7),
    "threads": lambda: simple(
        lambda net, x: 1.0 + sys.getrecursionlimit(),
        lambda net, i: sys.setrecursionlimit(5000 + int(late(i))),
    ),
}
