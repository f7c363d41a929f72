"""Probing a loss: call it at chosen points, read the weight of every pixel and latent off it."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyro_vae.diagnosis.audit.calling import Binding, Role
from pyro_vae.diagnosis.audit.isolation import isolated, undisturbed
from pyro_vae.diagnosis.audit.outputs import Choice, choose, numbers, total
from pyro_vae.diagnosis.audit.points import (
    BINARY,
    GREY,
    LATENTS,
    POSITIVE,
    Pairs,
    Point,
    Reading,
    Sizes,
    average,
    places,
    pool,
    turns,
)

__all__: list[str] = []

#: Latents to draw for one average over seeds, and bounds on the number of seeds; a loss slower than
#: this many seconds gets by with the lower one.
_NOISY_DRAWS = 12_000
_SEEDS = 16, 400
_SLOW = 0.05
#: Seconds after which no further way of calling is tried.
_PATIENCE = 60.0


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
        self._seconds = 0.0
        self._strict = True
        self.x_flat = self.x_hat_flat = self.noisy = self.latent_noise = self.warned = False
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
        values = [
            float(total(self._parts(self._tensors(point), seed, weights), self._choice))
            for seed in range(self._seeds())
        ]
        return sum(values) / len(values)

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
            if not strict and not any("are broadcast" in error for error in errors):
                break
            self._strict = strict
            for way in self._ways(point):
                tried, self.x_flat, self.x_hat_flat, self.dtype = way
                problem = self._attempt(tried)
                if problem is None:
                    self.warned = not strict
                    return tried
                errors.append(problem)
                if time.perf_counter() - started > _PATIENCE:
                    raise ValueError(self._complaint(point, errors[0]))
        raise ValueError(self._complaint(point, errors[0]))

    def _ways(self, point: Point) -> Iterator[tuple[Point, bool, bool, torch.dtype]]:
        positive = self._binding.scale in ("variance", "std")
        flats = [(False, False), (False, True), (True, True), (True, False)]
        for pixels, latents, flat, dtype in itertools.product(
            (GREY, BINARY),
            (POSITIVE,) if positive else (LATENTS, POSITIVE),
            flats if len(point.sizes.data) > 1 else flats[:1],
            (torch.float64, torch.float32),
        ):
            yield replace(point, pixels=pixels, latents=latents), *flat, dtype

    def _attempt(self, point: Point) -> str | None:
        moved = replace(point.scaled(errors=0.5), latents=point.latents)
        latents = replace(point.scaled(means=0.5, scales=0.5), pixels=point.pixels)
        moves = {(False, False): point, (True, False): moved, (False, True): latents}
        for self.differentiable in (True, False):
            try:
                started = time.perf_counter()
                self._choice = choose(lambda *move: self._parts(self._tensors(moves[move]), 0, {}))
                self._seconds = (time.perf_counter() - started) / 2
                if self.differentiable:
                    self._gradients(point, 0, {})
                return None
            except Exception as error:  # whatever other people's code raises
                problem = f"{type(error).__name__}: {error}"
        return problem

    def _complaint(self, point: Point, error: str) -> str:
        sizes = point.sizes
        image = (sizes.batch, *sizes.data)
        flat = " and flat images" if len(sizes.data) > 1 else ""
        return (
            f"{self._binding.describe()} was tried with x and x_hat of shape {image}{flat}, mean "
            f"and log_var of shape {(sizes.batch, sizes.latents)}, in float64 and float32, with "
            f"grey and binary x; it raised {' '.join(error.split())[:300]}"
        )

    def _look_for_noise(self) -> None:
        first, second = (self._read(self.point, seed, {}) for seed in (0, 1))

        def differ(a: Tensor, b: Tensor) -> bool:
            a, b = a.nan_to_num(), b.nan_to_num()
            return float((a - b).norm()) > 1e-6 * float(a.norm())

        self.latent_noise = differ(first.mean, second.mean) or differ(first.scale, second.scale)
        self.noisy = self.latent_noise or differ(first.x_hat, second.x_hat)

    def _tensors(self, point: Point) -> dict[Role, Tensor]:
        sizes = point.sizes
        x, x_hat = self._spread(point.pixels, sizes.batch, sizes.data)
        mean, scale = self._spread(point.latents, sizes.batch, (sizes.latents,))
        x = x.flatten(1) if self.x_flat else x
        x_hat = x_hat.flatten(1) if self.x_hat_flat else x_hat
        return {"x": x, "x_hat": x_hat, "mean": mean, "log_var": scale}

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
            if self._strict and any("target size" in str(w.message) for w in caught):
                raise ValueError("x and x_hat of different shapes are broadcast")
        return parts

    def _gradients(self, point: Point, seed: int, weights: Mapping[str, float]) -> list[Tensor]:
        leaves = {role: t.requires_grad_() for role, t in self._tensors(point).items()}
        # x needs no gradient, and the loss may work in place on what it gets.
        given = {r: t.detach().clone() if r == "x" else t.clone() for r, t in leaves.items()}
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

    def _read(self, point: Point, seed: int, weights: Mapping[str, float]) -> Reading:
        if not self.differentiable:
            return self._differences(point, seed, weights)
        x_hat, mean, scale, value = self._gradients(point, seed, weights)
        pixels, images = pool(x_hat, len(point.pixels))
        means, scales = (pool(gradient, len(point.latents))[0] for gradient in (mean, scale))
        return Reading(float(value), pixels, means, scales, images)

    def _differences(self, point: Point, seed: int, weights: Mapping[str, float]) -> Reading:
        """Gradients by central differences, one pair at a time, for a loss without any."""
        step = 1e-4 if self.dtype is torch.float64 else 2e-2

        def value(shifted: Point) -> float:
            return float(total(self._parts(self._tensors(shifted), seed, weights), self._choice))

        def slopes(kind: str, side: int) -> Tensor:
            pairs: Pairs = getattr(point, kind)
            shape = point.sizes.data if kind == "pixels" else (point.sizes.latents,)
            counts = (
                places(len(pairs), point.sizes.batch, math.prod(shape))
                .flatten()
                .bincount(minlength=len(pairs))
            )
            found = []
            for number, pair in enumerate(pairs):
                ends = []
                for shift in (step, -step):
                    new = (pair[0] + shift, pair[1]) if side == 0 else (pair[0], pair[1] + shift)
                    moved = (*pairs[:number], new, *pairs[number + 1 :])
                    shifted = (
                        replace(point, pixels=moved)
                        if kind == "pixels"
                        else replace(point, latents=moved)
                    )
                    ends.append(value(shifted) if counts[number] else 0.0)
                found.append((ends[0] - ends[1]) / (2 * step))
            return torch.tensor(found, dtype=torch.float64) / counts

        even = torch.ones(point.sizes.batch, dtype=torch.float64)
        return Reading(
            value(point), slopes("pixels", 1), slopes("latents", 0), slopes("latents", 1), even
        )
