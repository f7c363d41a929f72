"""How a run is trained."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial
from numbers import Real
from operator import ge
from typing import TYPE_CHECKING, Any, TypeVar

from pyro_vae.config.fields import MOST, check_count, check_number, number_or_text, option
from pyro_vae.config.own import flag, is_path, named, own_or_unknown
from pyro_vae.errors import InputError, shown, unknown
from pyro_vae.texts import Word
from pyro_vae.types import JSON

if TYPE_CHECKING:
    from pyro_vae import controllers, objectives, schedules

__all__ = ["FitConfig"]

T = TypeVar("T")

_MOST_PROCESSES = 1024


def _text_or_object(name: str) -> Callable[[object], object]:
    """A reader of what a text names and an object is."""
    text = number_or_text(name)

    def reader(value: object) -> object:
        named = isinstance(value, str | int | float | list | dict | tuple | None)
        return text(value) if named else value

    return reader


def _several(value: object) -> tuple[object, ...]:
    """Texts and objects, of which one may stand alone."""
    if isinstance(value, list | tuple):
        found = tuple(value)
    elif isinstance(value, str) or callable(value):
        found = (value,)
    else:
        raise InputError(f"augment must be a list of texts, got {shown(value)}")
    for each in found:
        if not isinstance(each, str) and not callable(each):
            raise InputError(f"augment must be a list of texts or functions, got {shown(each)}")
    return found


@dataclass(frozen=True)
class FitConfig:
    """How to train; a run's config.json holds these, objects by their dotted names.

    Where an option is named by a text, its object will do as well: a
    :class:`~pyro_vae.schedules.Schedule` for ``beta``, an
    :class:`~pyro_vae.objectives.Objective` for ``elbo``, a class of torch's or a function
    (parameters, lr=, weight_decay=) for ``optimizer``, functions of images for ``augment``.
    """

    epochs: int = option(60, "Passes over the training images.", most=MOST)
    batch_size: int = option(128, "Images per step.", most=MOST)
    lr: float = option(1e-3, "Learning rate.")
    scale_lr: bool = option(
        True,
        "Let layers of more than 1,024 inputs learn in proportion more slowly (adam, adamw, "
        "rmsprop).",
        off="no-scale-lr",
    )
    beta: Any = option(
        "1",
        "Weight of the KL: a number, or linear:0,1,steps=1000, cosine:..., sigmoid:..., "
        "cyclical:0,1,period=500,ratio=0.5 (epochs=N for epochs).",
        metavar="SCHEDULE",
        read=_text_or_object("beta"),
    )
    target_kl: float | None = option(None, "Adapt β to hold the KL there, nats per image.")
    target_reconstruction: float | None = option(
        None, "Adapt β to hold the reconstruction there, nats per image."
    )
    elbo: Any = option(
        "trace",
        "Objective: trace, mean-field, iwae:K, dreg:K, renyi:ALPHA, free-bits:NATS or "
        "capacity:NATS; or package.module:attribute of your own.",
        metavar="NAME",
        others=("objective",),
        read=_text_or_object("elbo"),
    )
    optimizer: Any = option(
        "adam",
        "adam, adamw, rmsprop, sgd; or package.module:attribute, as torch.optim:Adagrad.",
        read=_text_or_object("optimizer"),
    )
    weight_decay: float = option(0.0, "Of the optimiser.")
    lr_schedule: str = option("constant", "constant, cosine, step, plateau.")
    lr_warm_up: int = option(0, "Linear rise.", metavar="STEPS")
    clip: float | None = option(None, "Largest norm of the gradient.", metavar="NORM")
    average: float | None = option(None, "Average the weights exponentially.", metavar="DECAY")
    patience: int | None = option(
        None, "Stop after so many without gain on the validation part.", metavar="EPOCHS"
    )
    keep_best: bool | None = option(
        None,
        "End with the weights that are best on the validation part, or with the last "
        "[the best where there is such a part].",
        off="keep-last",
    )
    augment: tuple[Any, ...] = option(
        (),
        "Augment training images: flip, shift, rotate, zoom, crop.",
        metavar="NAME",
        read=_several,
    )
    init_from_data: bool | None = option(
        None,
        "Start at the best constant prediction, or as the networks do [there where the network's "
        "start is worse on training images that it was not found on].",
        off="no-init-from-data",
    )
    seed: int = option(0, "Of weights, batches and noise.")
    accumulate: int = option(1, "Parts that a batch is split in.", most=MOST)
    precision: str = option(
        "float32",
        "What the networks compute in: float32, bfloat16 or float16.",
        choices=("float32", "bfloat16", "float16"),
    )
    compile: str = option(
        "auto",
        "Steps as compiled graphs: on, off, or auto where a run is long enough.",
        choices=("auto", "on", "off"),
    )
    checkpoint: str = option(
        "60s",
        "Save for --resume every so many steps, or seconds (60s), or off.",
        metavar="INTERVAL",
        read=number_or_text("checkpoint"),
    )
    keep_checkpoints: int = option(2, "Keep so many of them, the last ones.", metavar="K")
    workers: int = option(0, "Processes that read image files and shards too large for memory.")
    on_nan: str = option(
        "stop",
        "After a step that is not finite: stop, skip its batch, or rollback to the last "
        "checkpoint with half the learning rate.",
        metavar="WHAT",
        choices=("stop", "skip", "rollback"),
    )

    @classmethod
    def of(cls, **options: Any) -> FitConfig:
        """Settings from options as users give them; ``objective`` is another name of ``elbo``.

        Raises:
            InputError: If an option is unknown or out of range; it names the option.
        """
        if "objective" in options:
            options.setdefault("elbo", options.pop("objective"))
        names = [field.name for field in fields(cls)]
        for name, value in options.items():
            if name not in names:
                raise unknown("option", name, names)
            if isinstance(value, Real) and not isinstance(value, int | float):
                # A number of numpy's: JSON has none of those.
                options[name] = value.item() if hasattr(value, "item") else float(value)
        for each in fields(cls):
            reader = each.metadata.get("read")
            if reader is not None and each.name in options:
                options[each.name] = reader(options[each.name])
        found = cls(**options)
        found._check()
        return found

    def _check(self) -> None:
        for name in ("epochs", "batch_size", "accumulate", "keep_checkpoints"):
            check_count(name, getattr(self, name))
        for name in ("lr", "clip"):
            if name == "lr" or self.clip is not None:
                check_number(name, getattr(self, name), "positive and finite", lambda v: v > 0)
        check_number("weight_decay", self.weight_decay, "not negative", lambda v: v >= 0)
        for name, most in (("lr_warm_up", MOST), ("workers", _MOST_PROCESSES)):
            value = getattr(self, name)
            check_number(name, value, "an integer of at least 0", _natural)
            check_number(name, value, f"at most {most:,}", partial(ge, most))
        wanted = "an integer from 0 to 2**32 - 1"
        check_number("seed", self.seed, wanted, lambda v: _natural(v) and v < 2**32)
        if self.average is not None:
            check_number("average", self.average, "in (0, 1)", lambda value: 0 < value < 1)
        if self.patience is not None:
            check_count("patience", self.patience)
        for each in fields(self):
            accepted = each.metadata.get("choices")
            if accepted is not None and getattr(self, each.name) not in accepted:
                raise unknown(flag(each.name), getattr(self, each.name), accepted)
        self._check_names()
        if self.compile == "on" and self.precision == "float16":
            raise InputError("compile on does not go with float16: leave it out")
        self.schedule()
        self.objective()
        self.controller()
        self.interval()

    def _check_names(self) -> None:
        from pyro_vae import optimisers
        from pyro_vae.data import augment

        for name, accepted in (
            ("optimizer", optimisers.OPTIMISERS),
            ("lr_schedule", optimisers.LR_SCHEDULES),
        ):
            value = getattr(self, name)
            if not callable(value) and value not in accepted:
                raise own_or_unknown(name, value, accepted)
        for value in self.augment:
            if not callable(value) and value not in augment.TABLE:
                raise own_or_unknown("augment", value, augment.TABLE)

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
        return self.controller() is None and str(self.elbo) in ("trace", "mean-field")

    def schedule(self) -> schedules.Schedule:
        """The schedule of β."""
        from pyro_vae import schedules

        if isinstance(self.beta, schedules.Schedule):
            return self.beta
        return _parsed("beta", lambda: schedules.parse(self.beta))

    def objective(self) -> objectives.Objective:
        """The ELBO object."""
        from pyro_vae import objectives
        from pyro_vae.objectives.parsing import FORMS

        if isinstance(self.elbo, objectives.Objective):
            return self.elbo
        if not isinstance(self.elbo, str):
            raise InputError(
                f"elbo must be a text or a pyro_vae.objectives.Objective, got {shown(self.elbo)}"
            )
        if Word(self.elbo).pair(":")[0] not in FORMS and is_path(self.elbo):
            raise own_or_unknown("elbo", self.elbo, FORMS.values())
        return _parsed("elbo", lambda: objectives.parse(self.elbo))

    def controller(self) -> controllers.Controller | None:
        """What adapts β to a target, or None."""
        from pyro_vae import controllers, schedules

        kl, reconstruction = self.target_kl, self.target_reconstruction
        if kl is not None and reconstruction is not None:
            raise InputError("--target-kl and --target-reconstruction exclude each other")
        if kl is None and reconstruction is None:
            return None
        if self.schedule() != schedules.parse("1"):
            raise InputError(
                f"--beta is what a target adapts: leave it out with --target-kl and "
                f"--target-reconstruction, got {self.beta}"
            )
        if kl is not None:
            return _parsed("target_kl", lambda: controllers.TargetKL(kl))
        assert reconstruction is not None
        return _parsed(
            "target_reconstruction", lambda: controllers.TargetReconstruction(reconstruction)
        )

    @property
    def chooses(self) -> str:
        """Options that choose by held-out images, in words; empty where none does."""
        wanting = {
            "patience": self.patience is not None,
            "keep-best": self.keep_best is True,
            "lr-schedule plateau": self.lr_schedule == "plateau",
        }
        return ", ".join(name for name, wants in wanting.items() if wants)

    def settled(self, validation: bool) -> FitConfig:
        """The same where what it ends with is said, whatever images there are to choose by.

        Args:
            validation: Whether there is a validation part.
        """
        if self.keep_best is not None:
            return self
        # Before β has brought the KL or the reconstruction to its target, the bound may be higher.
        return replace(self, keep_best=validation and self.controller() is None)

    def check_held_out(self, given: bool) -> None:
        """Make sure that there are held-out images where an option looks at them.

        Args:
            given: Whether there are.

        Raises:
            InputError: If there are none; it names the option.
        """
        if self.chooses and not given:
            raise InputError(
                f"{self.chooses} looks at held-out images and there are none: give validation=, "
                "images or a share as 0.1"
            )

    def to_dict(self) -> JSON:
        """Plain data for config.json; objects as ``named`` has them."""
        own = {each.name: getattr(self, each.name) for each in fields(self)}
        return {**own, **{name: named(own[name]) for name in ("beta", "elbo", "optimizer")}} | {
            "augment": [named(each) for each in self.augment]
        }


def _parsed(name: str, parse: Callable[[], T]) -> T:
    try:
        return parse()
    except ValueError as error:
        raise InputError(f"{flag(name)}: {error}") from None


def _natural(value: object) -> bool:
    return isinstance(value, int) and value >= 0
