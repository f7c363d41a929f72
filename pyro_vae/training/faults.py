"""Faults: where a step stopped being finite, and what to change."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pyro.poutine import Trace
from torch import Tensor, nn
from torch.distributions import Distribution

from pyro_vae.data import plain
from pyro_vae.data.batch import Loaded
from pyro_vae.errors import TrainingError
from pyro_vae.links import Interval
from pyro_vae.objectives.terms import Site, latent_sites, other_sites

if TYPE_CHECKING:
    from pyro_vae.training.train_state import TrainState

__all__ = ["Explanation", "FaultError"]

FILE = "fault.json"
"""Where a run folder keeps the explanation."""


@dataclass(frozen=True)
class Explanation:
    """A step that gave no finite loss or gradient, run once more and looked into.

    Attributes:
        step: The step, from 1.
        where: The first thing that was not finite.
        advice: What to change.
        images: Numbers of the batch's images within the training images.
        beta: β of the step.
        learning_rate: Of the step.
        parameters: Least and greatest value of each of the observation's parameters.
        saturated: Share of each parameter's values at an end of its link's range.
    """

    step: int
    where: str
    advice: str
    images: list[int]
    beta: float
    learning_rate: float
    parameters: dict[str, tuple[float, float]]
    saturated: dict[str, float]

    @property
    def sentence(self) -> str:
        """All of it in a line."""
        return (
            f"step {self.step}: {self.where} (β = {self.beta:g}, "
            f"learning rate {self.learning_rate:g}): {self.advice}"
        )

    def write(self, folder: Path) -> None:
        """Write it into a run folder."""
        text = json.dumps(asdict(self), indent=2) + "\n"
        (folder / FILE).write_text(text, encoding="utf-8")


class FaultError(TrainingError):
    """A step that was not finite.

    Args:
        explanation: What is known of it.
    """

    def __init__(self, explanation: Explanation) -> None:
        super().__init__(f"the loss is not finite at {explanation.sentence}")
        self.explanation = explanation


def explain(state: TrainState, batch: Loaded, index: Tensor) -> Explanation | None:
    """Run a step's pass again and find the first thing that is not finite.

    Args:
        state: The run's state; its weights are as the step found them, and stay so.
        batch: The step's images.
        index: Their numbers.

    Returns:
        The explanation, or None if everything is finite this time.
    """
    seen = _Seen(state.vae)
    with seen:
        x, traces = state.traces(batch)
    found = _first(state, x, index, seen, traces)
    if found is None:
        return None
    ranges, saturated = _parameters(state, traces)
    return _explanation(state, index, *found, ranges, saturated)


def unexplained(state: TrainState, index: Tensor) -> Explanation:
    """The explanation of a step that is finite when it is run again."""
    where = "the loss was not finite, and is when the step is run again"
    return _explanation(state, index, where, "--on-nan rollback", {}, {})


def _explanation(
    state: TrainState,
    index: Tensor,
    where: str,
    advice: str,
    ranges: dict[str, tuple[float, float]],
    saturated: dict[str, float],
) -> Explanation:
    return Explanation(
        step=state.step + 1,
        where=where,
        advice=advice,
        images=index.tolist(),
        beta=float(state.present_beta()),
        learning_rate=float(state.optimiser.param_groups[0]["lr"]),
        parameters=ranges,
        saturated=saturated,
    )


class _Seen:
    """The layers whose output was not finite, in the order of their calls."""

    def __init__(self, vae: nn.Module) -> None:
        self.layers: list[str] = []
        self._vae = vae
        self._hooks: list[Any] = []

    def __enter__(self) -> None:
        for name, module in self._vae.named_modules():
            if not any(module.children()):
                self._hooks.append(module.register_forward_hook(self._look(name)))

    def _look(self, name: str) -> Callable[[nn.Module, object, object], None]:
        def look(module: nn.Module, inputs: object, output: object) -> None:
            if isinstance(output, Tensor) and not _finite(output):
                self.layers.append(f"{name} ({type(module).__name__})")

        return look

    def __exit__(self, *error: object) -> None:
        for hook in self._hooks:
            hook.remove()


def _first(
    state: TrainState, x: Loaded, index: Tensor, seen: _Seen, traces: tuple[Trace, Trace]
) -> tuple[str, str] | None:
    """What was not finite first, and what to change."""
    bad = [name for name, p in state.vae.named_parameters() if not _finite(p)]
    if bad:
        return f"the weights {bad[0]} are not finite", "start anew with a lower --lr"
    images = ~torch.isfinite(plain(x)).flatten(1).all(1)
    if bool(images.any()):
        numbers = index[images.to(index.device)].tolist()
        return f"the data of image {numbers[0]} are not finite", "leave out or mend these images"
    if seen.layers:
        return f"the output of {seen.layers[0]} is not finite", "lower --lr, or --clip 1"
    for name, title, site in _sites(state, traces):
        for parameter, value in _values(site["fn"]).items():
            if not _finite(value):
                return (
                    f"{parameter} of the site {name} ({title}) is not finite",
                    "give it another link or a higher floor, or lower --lr",
                )
        log_prob = site["fn"].log_prob(site["value"])
        if not _finite(log_prob):
            return (
                f"the log-probability of the site {name} ({title}) is not finite",
                "lower --lr, or give its parameters a higher floor",
            )
    return _first_gradient(state, traces)


def _first_gradient(state: TrainState, traces: tuple[Trace, Trace]) -> tuple[str, str] | None:
    loss = state.objective.surrogate(*traces)
    named = [(name, p) for name, p in state.vae.named_parameters() if p.requires_grad]
    gradients = torch.autograd.grad(loss, [p for _, p in named], allow_unused=True)
    for (name, _), gradient in zip(named, gradients, strict=True):
        if gradient is not None and not _finite(gradient):
            return f"the gradient of {name} is not finite", "lower --lr, or --clip 1"
    return None


def _sites(state: TrainState, traces: tuple[Trace, Trace]) -> Iterator[tuple[str, str, Site]]:
    """Name, title and site of each latent of the guide, and then of each observation."""
    for name, _, guide in latent_sites(*traces):
        yield name, "the posterior", guide
    observed, _ = other_sites(*traces)
    for site in observed:
        one = len(observed) == 1 and not state.vae.joint
        title = state.vae.obs.title if one else type(site["fn"]).__name__
        yield site["name"], title, site


def _values(distribution: Distribution) -> Mapping[str, Tensor]:
    """The parameters of a distribution, by name."""
    base = getattr(distribution, "base_dist", distribution)
    names = getattr(base, "arg_constraints", {})
    found = {name: base.__dict__.get(name) for name in names}
    return {name: value for name, value in found.items() if isinstance(value, Tensor)}


def _parameters(
    state: TrainState, traces: tuple[Trace, Trace]
) -> tuple[dict[str, tuple[float, float]], dict[str, float]]:
    ranges, saturated = {}, {}
    observed, _ = other_sites(*traces)
    for site in observed:
        lead = f"{site['name']}." if len(observed) > 1 else ""
        for name, value in _values(site["fn"]).items():
            value = value.detach()
            ranges[lead + name] = (float(value.min()), float(value.max()))
            link = getattr(state.vae.likelihood, "links", {}).get(name)
            if isinstance(link, Interval) and not lead:
                saturated[name] = link.saturated(value)
    return ranges, saturated


def _finite(value: Tensor) -> bool:
    return bool(torch.isfinite(value).all())
