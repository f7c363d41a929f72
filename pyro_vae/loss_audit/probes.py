"""Probing a loss: call it at chosen points, read the weight of every pixel and latent off it."""

from __future__ import annotations

import math
import re
import time
import types
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyro_vae.loss_audit.binding import Binding
from pyro_vae.loss_audit.differences import differences
from pyro_vae.loss_audit.isolation import isolated, undisturbed
from pyro_vae.loss_audit.outputs import Choice, choose, numbers, total
from pyro_vae.loss_audit.points import (
    Pairs,
    Point,
    Reading,
    Sizes,
    average,
    places,
    pool,
    turns,
)
from pyro_vae.loss_audit.ways import complaint, ways
from pyro_vae.loss_audit.wording import Role

__all__: list[str] = []

#: Latents to draw for one average over seeds, and bounds on the number of seeds; a loss slower than
#: this many seconds gets by with the lower one.
_NOISY_DRAWS = 12_000
_SEEDS = 16, 400
_SLOW = 0.05
#: Seconds after which no further way of calling is tried.
_PATIENCE = 60.0
_FORGIVEN = re.compile("are broadcast|is not finite")
_DTYPE = re.compile("float|dtype|double|type", re.IGNORECASE)
_NOTHING: Mapping[str, float] = types.MappingProxyType({})


class Probe:
    """A loss that can be read: it finds out how to call it and remembers what it read.

    Attributes:
        noisy: The loss draws noise: readings are averaged over seeds.
        latent_noise: Its noise reaches mean and log_var.
        differentiable: Gradients come from autograd, not from differences.
        plain: The loss returns a number outside torch.
        notes: What had to be assumed.
        warned: The loss broadcast tensors of different shapes against each other.

    Raises:
        ValueError: If the loss cannot be called in any of the ways tried.
    """

    def __init__(self, function: Callable[..., Any], binding: Binding, sizes: Sizes) -> None:
        self._function = function
        self._binding = binding
        self._cache: dict[Any, Reading] = {}
        #: What was recognised of it, by term, for the next that asks.
        self.known: dict[str, Any] = {}
        self._seconds = 0.0
        self._strict, self._broadcast = True, False
        self.x_flat = self.x_hat_flat = self.noisy = self.latent_noise = self.warned = False
        #: The axis of the data that holds classes, where x is their index.
        self.classes: int | None = None
        self.dtype = torch.float64
        self.differentiable = True
        self.plain = False
        self._choice: Choice = Choice(())
        self.point = self._settle(Point(sizes))
        self.notes = list(self._choice.notes)
        self._look_for_noise()

    def read(self, point: Point, **weights: float) -> Reading:
        """Read the loss at a point, with weights of one's own if given."""
        return self._remembered(point, self._seeds(), weights)

    def read_large(self, sizes: Sizes) -> Reading:
        """Read the loss where the KL is large, so that neither noise nor a capacity matters."""
        point = replace(self.large, sizes=sizes)
        return self._remembered(point, _SEEDS[0] if self.noisy else 1, {})

    @property
    def large(self) -> Point:
        """The usual point with larger means."""
        return self.point.scaled(means=20)

    def _remembered(self, point: Point, seeds: int, weights: Mapping[str, float]) -> Reading:
        key = point, seeds, tuple(sorted(weights.items()))
        if key not in self._cache:
            self._cache[key] = average(
                [
                    self._read(turned, seed, weights).turned_back(*offsets)
                    for turned, *offsets in turns(point)
                    for seed in range(seeds)
                ]
            )
        return self._cache[key]

    def value(self, point: Point, **weights: float) -> float:
        """The value of the loss at a point."""
        values = [self._value(point, seed, weights) for seed in range(self._seeds())]
        return sum(values) / len(values)

    def _value(self, point: Point, seed: int, weights: Mapping[str, float]) -> float:
        parts = self._parts(self.tensors(point), seed, weights)
        return float(total(parts, self._choice).detach())

    def depends_on(self, name: str) -> bool:
        """Whether the loss changes with an argument that is none of the four."""
        plain, other = (self.value_at(self.tensors(self.point)), 0.0)
        binding = self._binding
        try:
            self._binding = binding.with_other(name)
            other = self.value_at(self.tensors(self.point))
        except Exception:  # whatever other people's code raises
            return True
        finally:
            self._binding = binding
        return not math.isclose(plain, other, rel_tol=1e-9)

    def _seeds(self) -> int:
        if not self.noisy:
            return 1
        sizes, (low, high) = self.point.sizes, _SEEDS
        wanted = _NOISY_DRAWS // (sizes.batch * sizes.latents)
        return low if self._seconds > _SLOW else min(max(wanted, 3 * low), high)

    def _settle(self, point: Point) -> Point:
        """Find shapes, dtype and data that the loss accepts."""
        errors: list[str] = []
        started = time.perf_counter()
        for strict in (True, False):
            if not strict and not any(_FORGIVEN.search(error) for error in errors):
                break
            self._strict = strict
            for way in ways(point, self._binding.scale in ("variance", "std")):
                tried, self.x_flat, self.x_hat_flat, self.dtype, self.classes = way
                if self.dtype is torch.float32 and not _DTYPE.search(errors[-1]):
                    continue
                problem = self._attempt(tried)
                if problem is None:
                    self.warned = not strict and self._broadcast
                    return tried
                errors.append(problem)
                if time.perf_counter() - started > _PATIENCE:
                    raise ValueError(complaint(self._binding, point.sizes, errors[0]))
        raise ValueError(complaint(self._binding, point.sizes, errors[0]))

    def _attempt(self, point: Point) -> str | None:
        moved = replace(point.scaled(errors=0.5), latents=point.latents)
        latents = replace(point.scaled(means=0.5, scales=0.5), pixels=point.pixels)
        moves = {(False, False): point, (True, False): moved, (False, True): latents}
        for self.differentiable in (True, False):
            try:
                started = time.perf_counter()
                self._choice = choose(lambda *move: self._parts(self.tensors(moves[move]), 0, {}))
                self._seconds = (time.perf_counter() - started) / 2
                if self.differentiable:
                    value = float(self._gradients(point, 0, {})[-1])
                else:
                    value = self._value(point, 0, {})
                if self._strict and not math.isfinite(value):
                    raise ValueError("its value is not finite")
                return None
            except Exception as error:  # whatever other people's code raises
                problem = f"{type(error).__name__}: {error}"
        return problem

    def _look_for_noise(self) -> None:
        first, second = (self._read(self.point, seed, {}) for seed in (0, 1))

        def differ(a: Tensor, b: Tensor) -> bool:
            a, b = a.nan_to_num(), b.nan_to_num()
            return float((a - b).norm()) > 1e-6 * float(a.norm())

        self.latent_noise = differ(first.mean, second.mean) or differ(first.scale, second.scale)
        self.noisy = self.latent_noise or differ(first.x_hat, second.x_hat)

    def tensors(self, point: Point) -> dict[Role, Tensor]:
        """What the function gets at a point."""
        sizes = point.sizes
        x, x_hat = self._spread(point.pixels, sizes.batch, sizes.data)
        mean, scale = self._spread(point.latents, sizes.batch, sizes.codes)
        return self.shaped({"x": x, "x_hat": x_hat, "mean": mean, "log_var": scale})

    def shaped(self, tensors: dict[Role, Tensor]) -> dict[Role, Tensor]:
        """Images as this function takes them: flat, or as indices of classes."""
        x, x_hat = tensors["x"], tensors["x_hat"]
        if self.classes is not None:
            number = x.shape[self.classes + 1]
            kept = x.select(self.classes + 1, 0)
            place = torch.arange(kept[0].numel()).reshape(kept.shape[1:])
            image = torch.arange(len(kept)).reshape(-1, *[1] * (kept.dim() - 1))
            return {**tensors, "x": ((1000 * kept).long() + 7 * place + image) % number}
        x = x.flatten(1) if self.x_flat else x
        x_hat = x_hat.flatten(1) if self.x_hat_flat else x_hat
        return {**tensors, "x": x, "x_hat": x_hat}

    def _spread(self, pairs: Pairs, batch: int, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        index = places(len(pairs), batch, math.prod(shape))
        table = torch.tensor(pairs, dtype=self.dtype)
        spread = table[index].reshape(batch, *shape, 2)
        return spread[..., 0].clone(), spread[..., 1].clone()

    def _parts(
        self, tensors: Mapping[Role, Tensor], seed: int, weights: Mapping[str, float]
    ) -> dict[str, Tensor]:
        # Each call gets a fresh copy, so that counters and running statistics start alike.
        function = isolated(self._function)
        values = {**self._binding.weights, **weights}
        with undisturbed(seed) as caught, torch.set_grad_enabled(self.differentiable):
            result = self._binding.call(function, tensors, values)
            self.plain = isinstance(result, float | int | np.number | np.ndarray)
            parts = numbers(result)
            self._broadcast = any("target size" in str(w.message) for w in caught)
            if self._strict and self._broadcast:
                raise ValueError("x and x_hat of different shapes are broadcast")
        return parts

    def _gradients(self, point: Point, seed: int, weights: Mapping[str, float]) -> list[Tensor]:
        return self.gradients_at(self.tensors(point), seed, weights)

    def gradients_at(
        self, tensors: Mapping[Role, Tensor], seed: int = 0, weights: Mapping[str, float] = _NOTHING
    ) -> list[Tensor]:
        """Gradients in x_hat, mean and log_var, and the value."""
        leaves = {
            role: tensor.detach().clone().requires_grad_()
            for role, tensor in tensors.items()
            if role != "x"
        }
        # The loss may work in place on what it gets.
        given: dict[Role, Tensor] = {"x": tensors["x"].detach().clone()}
        given |= {role: tensor.clone() for role, tensor in leaves.items()}
        with torch.enable_grad():
            loss = total(self._parts(given, seed, weights), self._choice)
        inputs = [leaves["x_hat"], leaves["mean"], leaves["log_var"]]
        if not loss.requires_grad:
            raise ValueError("the loss has no gradient")
        found = torch.autograd.grad(loss, inputs, allow_unused=True)
        return [
            torch.zeros_like(leaf) if grad is None else grad
            for leaf, grad in zip(inputs, found, strict=True)
        ] + [loss.detach()]

    def value_at(self, tensors: Mapping[Role, Tensor], **weights: float) -> float:
        """The value of the loss at inputs of one's own."""
        values = []
        for seed in range(self._seeds()):
            given = {role: tensor.detach().clone() for role, tensor in tensors.items()}
            values.append(float(total(self._parts(given, seed, weights), self._choice).detach()))
        return sum(values) / len(values)

    def _read(self, point: Point, seed: int, weights: Mapping[str, float]) -> Reading:
        if not self.differentiable:
            step = 1e-4 if self.dtype is torch.float64 else 2e-2
            return differences(lambda at: self._value(at, seed, weights), point, step)
        x_hat, mean, scale, value = self._gradients(point, seed, weights)
        pixels = pool(x_hat, len(point.pixels))
        means, scales = (pool(gradient, len(point.latents)) for gradient in (mean, scale))
        return Reading(
            float(value), pixels.pairs, means.pairs, scales.pairs, pixels.images,
            pixels.positions, max(means.rest, scales.rest),
        )  # fmt: skip
