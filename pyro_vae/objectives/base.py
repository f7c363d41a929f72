"""What every objective has in common: one vectorised pass, Pyro's protocol."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping

import torch
from pyro.infer import ELBO
from pyro.infer.elbo import ELBOModule
from pyro.infer.enum import get_importance_trace
from pyro.poutine import Trace
from torch import Tensor, nn

from .terms import check_sites

__all__ = ["Objective"]

Program = Callable[..., object]
"""A Pyro model or guide."""


class Objective(ELBO):  # type: ignore[misc]
    r"""A loss to minimise, for any Pyro model and guide whose latent sites are reparameterised.

    It is a :class:`pyro.infer.ELBO`: ``SVI(model, guide, optim, loss=objective)``,
    ``objective(model, guide)`` (a module) and :meth:`differentiable_loss` all work. Values are sums
    over the plates, as Pyro's own; divide by the batch size for figures per image.

    Every quantity comes from one vectorised pass: particles are a plate left of the program's own.
    Nothing depends on the data's values, and nothing goes to the host, so that the loss can be
    traced into a graph (with Pyro's validation off; on, Pyro itself looks for NaN).

    ``poutine.scale`` and ``poutine.mask`` around a latent site express β. They belong around the
    site in model **and** guide: objectives that sample the KL score what the program says, so that
    scaling one of the two alone is silently wrong; those with an analytic KL refuse it.

    To write an objective, subclass it and implement :meth:`surrogate`.

    Args:
        num_particles: K, samples of the latent sites per data element.
        max_plate_nesting: How many dims the program's plates take (1 for a VAE with its ``data``
            plate). By default Pyro finds out by running the program once more, on the first call.

    Raises:
        ValueError: If the number of particles is not a positive integer. When called: if a latent
            site is not reparameterised, or only in part, or model and guide do not have the same
            latent sites.
    """

    def __init__(self, num_particles: int = 1, *, max_plate_nesting: float = math.inf) -> None:
        if not isinstance(num_particles, int) or num_particles < 1:
            raise ValueError(f"K must be a positive integer, got {num_particles!r}")
        super().__init__(
            num_particles=num_particles,
            max_plate_nesting=max_plate_nesting,
            vectorize_particles=True,
        )

    def __call__(self, *args: object, **kwargs: object) -> ELBOModule:
        """A module (model, guide) whose call is the loss, as Pyro's.

        It has the parameters of programs that are modules, and of modules whose methods they are,
        such as ``vae.model`` and ``vae.guide``.
        """
        module = super().__call__(*args, **kwargs)
        found = [getattr(program, "__self__", None) for program in (module.model, module.guide)]
        owners = {id(owner): owner for owner in found if isinstance(owner, nn.Module)}
        module.owners = nn.ModuleList(owners.values())
        return module

    @abstractmethod
    def surrogate(self, model_trace: Trace, guide_trace: Trace) -> Tensor:
        """The loss from the two traces of :meth:`traces`: 0-dim, differentiable."""

    def traces(
        self, model: Program, guide: Program, *args: object, **kwargs: object
    ) -> tuple[Trace, Trace]:
        """Run the guide and the model once, for all particles together.

        Args:
            model: The model.
            guide: The guide.
            *args: Arguments of both.
            **kwargs: Keyword arguments of both.

        Returns:
            The model's and the guide's trace. Each sample site holds ``log_prob`` (scaled and
            masked), ``unscaled_log_prob`` and ``fn``; with K > 1 their leftmost batch dim has
            size K, with K = 1 there is no such dim.
        """
        if self.num_particles > 1:
            self.prepare(model, guide, *args, **kwargs)
            model = self._vectorized_num_particles(model)
            guide = self._vectorized_num_particles(guide)
        model_trace, guide_trace = self._get_trace(model, guide, args, kwargs)
        check_sites(model_trace, guide_trace)
        return model_trace, guide_trace

    @property
    def prepared(self) -> bool:
        """Whether it knows how many dims the program's plates take, or need not know."""
        return bool(self.num_particles == 1 or self.max_plate_nesting != math.inf)

    def prepare(self, model: Program, guide: Program, *args: object, **kwargs: object) -> None:
        """Find out, where that matters and is not known, how many dims the program's plates take.

        The program is run once more then, without using up noise; arguments as for :meth:`traces`.
        """
        if not self.prepared:
            self._guess_max_plate_nesting(model, guide, args, kwargs)

    def differentiable_loss(
        self, model: Program, guide: Program, *args: object, **kwargs: object
    ) -> Tensor:
        """The loss, a 0-dim tensor whose gradient is the objective's estimator."""
        return self.surrogate(*self.traces(model, guide, *args, **kwargs))

    def loss(self, model: Program, guide: Program, *args: object, **kwargs: object) -> float:
        """The loss as a number, without gradients."""
        with torch.no_grad():
            return float(self.differentiable_loss(model, guide, *args, **kwargs))

    def loss_and_grads(
        self, model: Program, guide: Program, *args: object, **kwargs: object
    ) -> float:
        """The loss as a number; adds its gradients to the parameters' (what ``SVI`` calls)."""
        loss = self.differentiable_loss(model, guide, *args, **kwargs)
        if loss.requires_grad:
            loss.backward(retain_graph=self.retain_graph)
        return float(loss.detach())

    @property
    @abstractmethod
    def spec(self) -> str:
        """The text that :func:`parse` reads back."""

    def __str__(self) -> str:
        return self.spec

    def _get_trace(
        self, model: Program, guide: Program, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> tuple[Trace, Trace]:
        nesting = self.max_plate_nesting
        traces: tuple[Trace, Trace] = get_importance_trace(
            "flat", nesting, model, guide, args, kwargs
        )
        return traces

    def _guess_max_plate_nesting(
        self, model: Program, guide: Program, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> None:
        # Pyro's extra run must not use up noise: a resumed run would see other noise.
        devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
        with torch.random.fork_rng(devices), torch.no_grad():
            super()._guess_max_plate_nesting(model, guide, args, kwargs)


def number(value: float | Tensor) -> str:
    """The shortest text that reads back as the same number."""
    return repr(float(value)).removesuffix(".0")
