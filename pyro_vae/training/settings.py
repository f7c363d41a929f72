"""Settings of a training run: plain data, checked as a whole before anything is done."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from numbers import Real
from typing import Any, TypeVar, cast

import torch

from pyro_vae import controllers, objectives, schedules, specs
from pyro_vae.data import augment
from pyro_vae.errors import InputError, shown, unknown
from pyro_vae.training import optimisers

__all__ = ["Settings"]

T = TypeVar("T")

_OPTIONAL = ("clip", "average")

ON_NAN = ("stop", "skip", "rollback")

COMPILE = ("auto", "on", "off")

MOST = 2**31 - 1
"""Largest number of anything that is counted: what follows from it still fits 64 bits."""
_MOST_PROCESSES = 1024

PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""Name → the dtype that ``torch.autocast`` is given, None for none."""


@dataclass(frozen=True)
class Settings:
    """How to train; a run's config.json holds these.

    Attributes:
        epochs: Passes over the images.
        batch_size: Images per step.
        lr: Learning rate.
        beta: β, a schedule of :mod:`pyro_vae.schedules`.
        seed: Of the batches' order and of all noise.
        elbo: The objective, as :func:`pyro_vae.objectives.parse` reads it.
        target_kl: Nats per image at which a controller holds the KL, instead of ``beta``.
        target_reconstruction: Nats per image at which a controller holds the reconstruction.
        optimizer: A name of :data:`pyro_vae.training.optimisers.OPTIMISERS`.
        weight_decay: Of the optimiser.
        lr_schedule: A name of :data:`pyro_vae.training.optimisers.LR_SCHEDULES`.
        lr_warm_up: Steps over which the learning rate first rises linearly.
        clip: Largest norm of the gradient, or None.
        average: Decay of the weights' exponential moving average, or None.
        patience: Epochs without a better held-out ELBO after which training stops, or None.
        keep_best: Whether to end with the weights of the best held-out ELBO.
        augment: Names of :data:`pyro_vae.data.augment.TABLE`, for training images only.
        init_from_data: Whether to start at the best constant prediction.
        accumulate: Parts that a step's images are worked through in, one after the other, where
            memory does not hold the work of all.
        precision: What the networks compute in while training: ``float32``, ``bfloat16`` or
            ``float16``.
            Log-probabilities and scores are always float32's; float16 scales its gradients.
        compile: Whether steps run as compiled graphs: ``on``, ``off``, or ``auto`` where the run
            has steps enough for its parameters (:mod:`pyro_vae.training.compiling`). Compiled
            sums are rounded differently.
        on_nan: What follows a step whose loss or gradient is not finite, one of ``stop``,
            ``skip`` (leave its batch out) and ``rollback`` (go back to the last checkpoint and
            halve the learning rate, at most 5 times).
        checkpoint: How often the run is saved so that it can be resumed: a number of steps, or
            seconds as ``"60s"``, or ``"off"``. What is trained does not depend on it.
        keep_checkpoints: How many checkpoints to keep, the last ones.
        workers: Processes that read training images from files and shards, 0 for none. What is
            trained does not depend on it.
    """

    epochs: int = 60
    batch_size: int = 128
    lr: float = 1e-3
    beta: str = "1"
    seed: int = 0
    elbo: str = "trace"
    target_kl: float | None = None
    target_reconstruction: float | None = None
    optimizer: str = "adam"
    weight_decay: float = 0.0
    lr_schedule: str = "constant"
    lr_warm_up: int = 0
    clip: float | None = None
    average: float | None = None
    patience: int | None = None
    keep_best: bool = False
    augment: tuple[str, ...] = ()
    init_from_data: bool = False
    accumulate: int = 1
    precision: str = "float32"
    compile: str = "auto"
    on_nan: str = "stop"
    checkpoint: str = "60s"
    keep_checkpoints: int = 2
    workers: int = 0

    @classmethod
    def of(cls, **options: Any) -> Settings:
        """Settings from options as users give them.

        Raises:
            InputError: If an option is unknown or out of range; it names the option.
        """
        names = [field.name for field in fields(cls)]
        for name in options:
            if name not in names:
                raise unknown("option", name, names)
        for name, value in options.items():
            if isinstance(value, Real) and not isinstance(value, int | float):
                options[name] = specs.plain(value)  # a number of numpy's: JSON has none of those
        for name in ("beta", "checkpoint"):
            if name in options:
                options[name] = str(options[name])
        options["augment"] = tuple(options.get("augment", ()))
        settings = cls(**options)
        settings._check()
        return settings

    def _check(self) -> None:
        for name in ("epochs", "batch_size", "accumulate", "keep_checkpoints"):
            check_count(name, getattr(self, name))
        for name in ("lr", "clip"):
            _require(name, getattr(self, name), "positive and finite", _positive)
        _require("weight_decay", self.weight_decay, "not negative", _not_negative)
        for name, most in (("lr_warm_up", MOST), ("workers", _MOST_PROCESSES)):
            _require(name, getattr(self, name), "an integer of at least 0", _natural)
            _require(name, getattr(self, name), f"at most {most:,}", _up_to(most))
        _require("seed", self.seed, "an integer from 0 to 2**32 - 1", _seed)
        _require("average", self.average, "in (0, 1)", lambda value: 0 < value < 1)
        if self.patience is not None:
            check_count("patience", self.patience)
        for name, accepted in (
            ("optimizer", optimisers.OPTIMISERS),
            ("lr_schedule", optimisers.LR_SCHEDULES),
            ("on_nan", ON_NAN),
            ("precision", PRECISIONS),
            ("compile", COMPILE),
        ):
            if getattr(self, name) not in accepted:
                raise unknown(_option(name), getattr(self, name), accepted)
        for name in self.augment:
            if name not in augment.TABLE:
                raise unknown("augmentation", name, augment.TABLE)
        if self.compile == "on" and self.precision == "float16":
            raise InputError("compile on does not go with float16: leave it out")
        self.schedule()
        self.objective()
        self.controller()
        self.interval()

    def interval(self) -> tuple[int | None, float | None]:
        """Steps, or seconds, from one checkpoint to the next."""
        text = self.checkpoint
        if text == "off":
            return None, None
        try:
            if text.endswith("s") and 0 < float(text[:-1]) < math.inf:
                return None, float(text[:-1])
            if not text.endswith("s") and int(text) > 0:
                return int(text), None
        except ValueError:
            pass
        raise InputError(
            f"checkpoint must be a number of steps, seconds as 60s, or off, got {shown(text)}"
        )

    @property
    def forecastable(self) -> bool:
        """Whether β and the weight of each latent are known before training."""
        return self.controller() is None and self.elbo in ("trace", "mean-field")

    def schedule(self) -> schedules.Schedule:
        """The schedule of β."""
        return _parsed("beta", lambda: schedules.parse(self.beta))

    def objective(self) -> objectives.Objective:
        """The ELBO object."""
        return _parsed("elbo", lambda: objectives.parse(self.elbo))

    def controller(self) -> controllers.Controller | None:
        """What adapts β to a target, or None."""
        if self.target_kl is not None and self.target_reconstruction is not None:
            raise InputError("--target-kl and --target-reconstruction exclude each other")
        if self.target_kl is None and self.target_reconstruction is None:
            return None
        if schedules.parse(self.beta) != schedules.parse("1"):
            raise InputError(
                f"--beta is what a target adapts: leave it out with --target-kl and "
                f"--target-reconstruction, got {self.beta}"
            )
        if self.target_kl is not None:
            kl = self.target_kl
            return _parsed("target_kl", lambda: controllers.TargetKL(kl))
        target = cast(float, self.target_reconstruction)
        return _parsed("target_reconstruction", lambda: controllers.TargetReconstruction(target))

    def check_held_out(self, given: bool) -> None:
        """Make sure that there are held-out images where an option looks at them.

        Args:
            given: Whether there are.

        Raises:
            InputError: If there are none; it names the option.
        """
        wanting = {
            "patience": self.patience is not None,
            "keep-best": self.keep_best,
            "lr-schedule plateau": self.lr_schedule == "plateau",
        }
        for name, wants in wanting.items():
            if wants and not given:
                raise InputError(
                    f"{name} looks at held-out images and there are none: give validation="
                )

    def to_dict(self) -> dict[str, Any]:
        """Plain data for config.json."""
        return {**asdict(self), "augment": list(self.augment)}


def _option(name: str) -> str:
    return name.replace("_", "-")


def _parsed(name: str, parse: Callable[[], T]) -> T:
    try:
        return parse()
    except ValueError as error:
        raise InputError(f"{_option(name)}: {error}") from None


def _require(name: str, value: Any, wanted: str, holds: Callable[[Any], bool]) -> None:
    if value is None and name in _OPTIONAL:
        return
    try:
        # No integer is infinite, and some are beyond all floats.
        fine = (isinstance(value, int) or math.isfinite(value)) and holds(value)
    except TypeError:
        fine = False
    if not fine:
        raise InputError(f"{_option(name)} must be {wanted}, got {shown(value)}")


def check_count(name: str, value: Any, most: int = MOST) -> None:
    """Make sure that an option's value counts something, and no more of it than there can be.

    Raises:
        InputError: If it does not; it names the option.
    """
    _require(name, value, "a positive integer", _positive_integer)
    _require(name, value, f"at most {most:,}", _up_to(most))


def _positive(value: Any) -> bool:
    return bool(value > 0)


def _not_negative(value: Any) -> bool:
    return bool(value >= 0)


def _natural(value: Any) -> bool:
    return isinstance(value, int) and value >= 0


def _seed(value: Any) -> bool:
    return _natural(value) and value < 2**32


def _positive_integer(value: Any) -> bool:
    return isinstance(value, int) and value > 0


def _up_to(most: int) -> Callable[[Any], bool]:
    return lambda value: bool(value <= most)
