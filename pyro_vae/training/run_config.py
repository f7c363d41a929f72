"""A run's configuration: all that it depends on, as plain data, and the run that it gives."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from pyro_vae import lookup, networks, posteriors, priors, specs, testing
from pyro_vae.checks import check_parts
from pyro_vae.config import (
    OPTIONS,
    DataConfig,
    FitConfig,
    ModelConfig,
    ObservationConfig,
    check_count,
    declared,
    read,
)
from pyro_vae.config.own import is_path, resolved
from pyro_vae.data import Data, Images, as_source, context, plain, split
from pyro_vae.data.endings import is_table
from pyro_vae.data.files import digest
from pyro_vae.data.kept import digests_of
from pyro_vae.data.parts import SHARE, parse
from pyro_vae.data.stock import is_path as is_file
from pyro_vae.errors import InputError
from pyro_vae.files import expanded
from pyro_vae.history import History
from pyro_vae.latent_model import checked_dims
from pyro_vae.noise import fixed_noise, noise
from pyro_vae.observations import head_of
from pyro_vae.training.devices import device_of
from pyro_vae.training.loop import train
from pyro_vae.training.memory import check_memory
from pyro_vae.training.progress import Progress
from pyro_vae.training.run_data import part_of
from pyro_vae.training.run_reading import read_data
from pyro_vae.training.runs import read_config
from pyro_vae.types import JSON
from pyro_vae.vae import VAE

__all__ = ["RunConfig", "Trained"]

_ASIDE = ("data_root", "download", "checkpoint", "keep_checkpoints", "workers", "device")
"""Options that do not bear on the weights: how to come by the data, and what is kept on the way."""
PARTS: dict[str, tuple[str, Mapping[str, Callable[..., Any]]]] = {
    "net": ("network", networks.NETWORKS),
    "prior": ("prior", priors.table()),
    "posterior": ("posterior", posteriors.POSTERIORS),
}
"""What a model is made of beside its head: by name its kind, and the stock ones."""


OWN = ("beta", "elbo", "optimizer", "augment")
"""Options of training that may be objects, which no folder can name."""


class Trained(NamedTuple):
    """What a run gave: the model, its history, and the data it was trained on."""

    vae: VAE
    history: History
    data: Data


@dataclass(frozen=True)
class RunConfig(ModelConfig, DataConfig):
    """A training run as plain data: the options of ``pyro-vae fit``, checked.

    Attributes:
        observation: Which observation it has.
        fit: How it is trained.

    Example:
        >>> config = RunConfig.of(obs="normal", sigma=0.5, beta=4, images=64, epochs=1, hidden=8)
        >>> config.options["sigma"], config.options["beta"]
        ('0.5', '4')
        >>> len(config.run().history.steps)
        1
    """

    observation: ObservationConfig = field(default_factory=ObservationConfig)
    fit: FitConfig = field(default_factory=FitConfig)

    @classmethod
    def of(cls, **options: Any) -> RunConfig:
        """A run from options as users give them; numbers may stand for texts of numbers.

        Raises:
            InputError: If an option is unknown (it names the nearest), of a wrong type or out of
                range, as far as that shows without the data.
        """
        found = {name: read_option(name, value) for name, value in options.items()}
        observation, training = (
            {name: found.pop(name) for name in declared(part) if name in found}
            for part in (ObservationConfig, FitConfig)
        )
        fit_config = FitConfig.of(**{name: resolved(name, v) for name, v in training.items()})
        for name, value in found.items():
            most = OPTIONS[name].most
            if most is not None and value is not None:
                check_count(name, value, most)
        for dim in checked_dims(found.get("latent_dim", 1)):
            check_count("latent_dim", dim)
        config = cls(observation=ObservationConfig(**observation), fit=fit_config, **found)
        config._check_validation()
        head_of(config.observation)
        config.parts()
        device_of(config.device)
        return config

    @classmethod
    def from_run(cls, folder: str | Path, **own: Any) -> RunConfig:
        """The configuration of a run that was trained by one.

        Args:
            folder: The run's.
            **own: What it has of the user's own, which no folder names, as for :meth:`of`.

        Raises:
            InputError: If the folder is no run's, the run was trained from a script, or something
                of the user's own is not given.
        """
        options = read_config(folder).get("options")
        if not isinstance(options, Mapping):
            raise InputError(f"{folder} was trained from a script, not by options")
        found = {**options, **own}
        for name in (*PARTS, "obs", *OWN):
            if found.get(name) is None:
                raise InputError(f"{folder} has {name} of your own: pass {name}=")
        return cls.of(**found)

    @property
    def options(self) -> JSON:
        """Every option by its name, as plain data."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in _flat(self)}

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the options that bear on the weights; of data files the content counts."""
        # Defaults are left out: an option that a later version adds leaves fingerprints alone.
        usual = dict(_flat(RunConfig()))
        if self.dropout is not None:
            # A network's own rate is no change: 0 was the option's default once.
            net = replace(self, dropout=None).parts()["net"]
            usual["dropout"] = getattr(net, "dropout", None)
        options: dict[str, Any] = {
            name: value
            for name, value in _flat(self)
            if name not in _ASIDE and value != usual[name]
        }
        if is_file(self.data):
            options["data"] = digest(self.data)
        # Where something chooses, runs of earlier versions chose by the test part.
        validation = self.validation or (SHARE if self.fit.chooses else None)
        # Of what is trained: False was the default of them all once.
        for name in ("init_from_data", "scale_lr"):
            if options.setdefault(name, getattr(self.fit, name)) is False:
                del options[name]
        options.pop("keep_best", None)  # what a run ends with that has no validation part
        if self.fit.keep_best is False and is_file(self.data):  # which may have one
            options["keep_best"] = False
        if validation is not None:
            if self.fit.settled(validation=True).keep_best:
                options["keep_best"] = True
            options["validation"] = digest(validation) if is_file(validation) else validation
        return hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()

    def at(self, seed: int) -> RunConfig:
        """The same with another seed."""
        return replace(self, fit=replace(self.fit, seed=seed))

    @property
    def title(self) -> str:
        """The observation's name, or the table's."""
        path = expanded(self.data)
        return path.stem if is_table(self.data) else head_of(self.observation).title

    def parts(self) -> JSON:
        """The networks, the prior and the posterior, by the names that ``VAE`` has for them.

        Raises:
            InputError: If one is unknown, or lacks a field that was given.
        """
        sizes = {name: getattr(self, name) for name in ("hidden", "depth", "dropout")}
        given = {name: value for name, value in sizes.items() if value is not None}
        options = {"net": given}
        return {
            name: specs.asked_all(what, getattr(self, name), table, options.get(name))
            for name, (what, table) in PARTS.items()
        }

    def own(self) -> JSON:
        """The parts of a user's own, which no run folder can name, as ``load`` takes them."""
        head, parts = head_of(self.observation), self.parts()
        own = {
            name: parts[name]
            for name, (what, table) in PARTS.items()
            if any(specs.described(what, part, table) is None for part in _each(parts[name]))
        }
        return own if head.name is not None else {"obs": head, **own}

    def load(self) -> Data:
        """The data; those that were asked for last are kept in memory.

        Raises:
            InputError: If they are not at hand.
        """
        return read_data(self).data

    def _kept(self) -> dict[str, Any]:
        """The options, null where they name code of the user's: no folder leads to any."""
        options = self.options
        texts = {name: _each(options[name]) for name in OWN}
        own = {*self.own(), *(n for n, found in texts.items() if any(map(is_path, found)))}
        return {name: None if name in own else value for name, value in options.items()}

    def _check_validation(self) -> None:
        """Refuse a validation part that is none, or that is not there where something chooses."""
        if self.validation is None:
            return
        if parse(self.validation) is None and self.fit.chooses:
            raise InputError(
                f"{self.fit.chooses} chooses by the validation part, and --validation none leaves "
                "none: give a share as 0.1, last:N, or a folder or file"
            )

    def choosing(self) -> RunConfig:
        """The same with a validation part, where a choice will be made between runs.

        Raises:
            InputError: If there is to be none.
        """
        if self.validation is not None and parse(self.validation) is None:
            raise InputError("a search chooses by the validation part: leave out validation none")
        if self.validation is not None or self.load().validation is not None:
            return self
        return replace(self, validation=SHARE)

    def sketch(self) -> tuple[VAE, Data]:
        """The smallest model of the data's observation, untrained, and the data.

        Raises:
            InputError: As of :meth:`load`, and if the data do not suit the observation.
        """
        data, head, *_ = read_data(self)
        usual = {name: OPTIONS[name].default for name in (*PARTS, "depth", "dropout")}
        small = replace(self, latent_dim=2, hidden=4, **usual)
        return small._made(data.train, _shape_of(data, head), head), data

    def _made(self, images: Images, shape: Any, head: Any) -> VAE:
        """The model; parts that are not stock ones are tried on a few images."""
        parts, covariates = self.parts(), context(images).get("covariates")
        known: dict[str, Any] = {}
        if covariates is not None:
            known["covariates"] = covariates.shape[1]
        others = [
            name
            for name, found in parts.items()
            if any(type(part) not in PARTS[name][1].values() for part in _each(found))
        ]
        words = ", ".join(f"--{name} {getattr(self, name)}" for name in others)
        with lookup.told(words) if others else nullcontext():
            vae = VAE(shape, self.latent_dim, head, **parts, **known)
            if others:
                check_parts(vae, images[:2])
        return vae

    def run(
        self,
        out: str | Path | None = None,
        overwrite: bool = False,
        progress: Progress | None = None,
        resume: bool = False,
    ) -> Trained:
        """Train the model that is described; the caller's generators are left alone.

        Args:
            out: Run folder to write, or None.
            overwrite: Whether ``out`` may hold a run already.
            progress: Who is told while it runs.
            resume: Whether to go on from the last checkpoint in ``out``.

        Raises:
            InputError: If the data are not at hand or do not suit the observation.
            TrainingError: If the loss becomes non-finite; what there is has been saved then.
        """
        data, head, described, notes = read_data(self)
        shape = _shape_of(data, head)
        whole = tuple(plain(data.train).shape[1:])
        check_memory(self.parts()["net"], whole, checked_dims(self.latent_dim))
        if not isinstance(head, Mapping) and head.name is None:
            testing.check_head(head, shape)
        if data.validation is not None:  # training does not see the others
            described["test"] = digests_of(data.test)
        with fixed_noise(noise("weights", self.fit.seed), data.train.device):
            vae = self._made(data.train, shape, head).to(device_of(self.device))
            images, held_out = split(as_source(data.train, vae.data_shape), data.held_out)
            history = train(
                vae,
                images,
                held_out,
                self.fit,
                out=out,
                overwrite=overwrite,
                resume=resume,
                progress=progress,
                kept={"data": described, "options": self._kept()},
                part=part_of(data),
                notes=notes,
            )
        return Trained(vae, history, data)


def read_option(name: str, value: object) -> Any:
    """The one form of an option's value, whatever stands for it.

    Raises:
        InputError: If the option is unknown (it names the nearest), or of a wrong type.

    Example:
        >>> read_option("beta", 4), read_option("beta", "4.0"), read_option("augment", "flip")
        ('4', '4', ('flip',))
    """
    return read(OPTIONS, name, value)


def _each(part: object) -> tuple[object, ...]:
    return tuple(part) if isinstance(part, tuple | list) else (part,)


def _shape_of(data: Data, head: Any) -> Any:
    """What a VAE takes for the shape of data: of several heads' each its own."""
    several = isinstance(head, Mapping)
    return dict.fromkeys(head, (1,)) if several else tuple(plain(data.train).shape[1:])


def _flat(config: RunConfig) -> Iterator[tuple[str, object]]:
    """Every option in its place, objects by name."""
    for name in declared(ModelConfig, DataConfig):
        yield name, getattr(config, name)
    yield from asdict(config.observation).items()
    for name, value in config.fit.to_dict().items():
        yield name, tuple(value) if isinstance(value, list) else value
