"""Devices by name."""

from __future__ import annotations

import torch

from pyro_vae.errors import InputError, unknown

__all__: list[str] = []


def device_of(name: str) -> torch.device:
    """The device of a name.

    Raises:
        InputError: If there is no such device, or none here.
    """
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.mps.is_available()}
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if there[kind]))
    if name not in there:
        raise unknown("device", name, [*there, "auto"])
    if not there[name]:
        raise InputError(f"device {name} is not available here; auto takes the fastest there is")
    return torch.device(name)
