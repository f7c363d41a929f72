"""Fixed noise: the same random numbers each time, other ones for each purpose."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from hashlib import blake2b
from typing import ParamSpec, TypeVar

import torch

__all__: list[str] = []

T = TypeVar("T")
P = ParamSpec("P")
_ONE = threading.RLock()


def alone(function: Callable[P, T]) -> Callable[P, T]:
    """A function that one thread at a time goes through, with all others that are made so.

    Pyro's handlers and torch's generators are the process's: two programs at once would mix.
    """

    @wraps(function)
    def waiting(*args: P.args, **kwargs: P.kwargs) -> T:
        with _ONE:
            return function(*args, **kwargs)

    return waiting


def noise(purpose: str, seed: int = 0, block: int | tuple[int, ...] = 0) -> int:
    """The seed of a stream of random numbers, the same in every process.

    Of a CPU's generator only the lower 32 bits of a seed count: there the blocks of one purpose and
    seed are told apart for certain, others as 32 bits of a hash do.

    Args:
        purpose: What is drawn, in words; each use has its own.
        seed: Which of all such draws.
        block: The number of the draw, or several, the fastest last; the last below 2³².

    Returns:
        An integer of 63 bits.

    Example:
        >>> noise("samples") == noise("samples", 0, 0), noise("samples") == noise("pieces")
        (True, False)
    """
    *outer, last = block if isinstance(block, tuple) else (block,)
    words = repr((purpose, *(f"{int(number):x}" for number in (seed, *outer))))
    digest = blake2b(words.encode(), digest_size=8).digest()
    high, low = divmod(int.from_bytes(digest, "big"), 1 << 32)
    return (high >> 1) << 32 | (low + int(last)) % (1 << 32)


@contextmanager
def fixed_noise(seed: int, device: torch.device) -> Iterator[None]:
    """The same random numbers each time, leaving the caller's generators where they were.

    Args:
        seed: What ``noise`` gives.
        device: What draws, beside the processor.
    """
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        seed_noise(seed, device)
        yield


def seed_noise(seed: int, device: torch.device) -> None:
    """Start the noise of the processor and of a device anew.

    ``torch.manual_seed`` formats the stack for every accelerator that is not in use, which takes
    longer than most of what is drawn then.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
    elif device.type != "cpu":
        torch.manual_seed(seed)
