"""What benchmarks share: contenders timed in turns, ratios with intervals, the machine."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import torch

__all__ = ["Times", "fashion", "in_turns", "machine", "ratio"]

Times = dict[str, list[float]]
"""Seconds of each round, by contender."""
INSIDE = 0.9


def in_turns(contenders: Mapping[str, Callable[[], Any]], rounds: int, warm_up: int = 1) -> Times:
    """Seconds that each contender takes, one after the other in every round.

    A machine's speed changes within minutes; within a round it is one.
    """
    for run in contenders.values():
        for _ in range(warm_up):
            run()
    times: Times = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            began = time.perf_counter()
            run()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            times[name].append(time.perf_counter() - began)
    return times


def ratio(times: Times, name: str, to: str) -> dict[str, float]:
    """How many times as fast one is as another: the median over rounds, and its 90% interval.

    The interval is the bootstrap's, of 10,000 resampled medians (seed 0).
    """
    pairs = np.array([b / a for a, b in zip(times[name], times[to], strict=True)])
    draws = np.random.default_rng(0).choice(pairs, (10_000, len(pairs)))
    low, high = np.quantile(np.median(draws, 1), [(1 - INSIDE) / 2, (1 + INSIDE) / 2])
    return {"median": float(np.median(pairs)), "low": float(low), "high": float(high)}


def per_second(times: Times, count: int) -> dict[str, float]:
    """The median rate of each contender, for so many images a round."""
    return {name: count / statistics.median(own) for name, own in times.items()}


def fashion(root: str | None, count: int) -> torch.Tensor:
    """Images of Fashion-MNIST as levels, uint8 (count, 1, 28, 28); digits where there are none."""
    import pyro_vae as pv

    try:
        images = pv.data.load("fashion-mnist", root=root).train
    except pv.InputError:
        images = pv.data.load("mnist-5k").train
    images = torch.as_tensor(images[: min(count, len(images))])
    return images.repeat(-(-count // len(images)), 1, 1, 1)[:count].contiguous()


def machine() -> dict[str, Any]:
    """What this ran on."""
    names = []
    if (info := Path("/proc/cpuinfo")).exists():
        lines = info.read_text(encoding="utf-8").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "accelerator": device,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "pyro": pyro.__version__,
    }
