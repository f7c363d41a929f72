"""Steps as compiled graphs: whether they pay, and one graph for each shape of a batch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from pyro_vae.config import FitConfig
from pyro_vae.data import Batch
from pyro_vae.data.batch import Loaded
from pyro_vae.errors import InputError
from pyro_vae.objectives import capture
from pyro_vae.training import distributed
from pyro_vae.training.train_step import TrainStep

__all__: list[str] = []

STEPS_PER_TENSOR = 280
"""Steps that save the time which one more parameter tensor adds to compiling, about."""
_SHAPES = 4
_CHECKED = 200
"""Steps that a check, which takes about three, is spread over at least."""


def compiled(program: TrainStep, settings: FitConfig, steps: int) -> Compiled | None:
    """The program's graphs if the settings ask for them or, under ``auto``, if they pay.

    Args:
        program: The pass of a step.
        settings: How to train.
        steps: Of the whole run.

    Raises:
        InputError: If the settings ask for what cannot be.
    """
    several, half = distributed.count() > 1, settings.precision == "float16"
    if settings.compile == "on" and several:
        raise InputError("compile on does not go with several processes: leave it out")
    parameters = [p for p in program.parameters() if p.requires_grad]
    pays = steps >= STEPS_PER_TENSOR * len(parameters) and parameters[0].device.type != "mps"
    if settings.compile == "on" or (settings.compile == "auto" and pays and not (several or half)):
        return Compiled(program, parameters, check_every=max(_CHECKED, steps // settings.epochs))
    return None


class Compiled:
    """A program's passes with their gradients, compiled for each shape of a batch.

    Args:
        program: The pass of a step.
        parameters: Whose gradients are wanted.
        backend: One of ``BACKENDS``.
        check_every: Every so many passes of a graph Pyro's own is held against it, as at its first.
    """

    def __init__(
        self,
        program: TrainStep,
        parameters: list[nn.Parameter],
        backend: str = "inductor",
        check_every: int = _CHECKED,
    ) -> None:
        self._program, self._parameters, self._backend = program, parameters, backend
        self._check_every = check_every
        self._graphs: dict[object, capture.Graph] = {}
        self._passes: dict[object, int] = {}

    def add_gradients(self, batch: Loaded, beta: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
        """The sums of a batch's pass; adds the gradient of its loss to the parameters' own.

        Args:
            batch: Levels (uint8) or floats, (N, *data_shape), or a batch of them.
            beta: β, 0-dim.
            share: What the loss is multiplied by, 0-dim.

        Returns:
            The sums, and the norm of this batch's gradient.

        Raises:
            NotCapturedError: If the program cannot be traced or compiled, or the graph's loss or
                gradient is not the program's.
        """
        inputs = batch.tensors() if isinstance(batch, Batch) else [batch]
        key = tuple((tensor.shape, tensor.stride(), tensor.dtype) for tensor in inputs)
        like = batch.filled if isinstance(batch, Batch) else None
        if key not in self._graphs:
            if len(self._graphs) == _SHAPES:
                raise capture.NotCapturedError(f"batches have more than {_SHAPES} shapes")
            self._program.prepare(batch, beta)
            self._graphs[key] = capture.Graph(
                partial(self._pass, like),
                (beta, share, *inputs),
                self._parameters,
                self._backend,
                norm=True,
            )
        graph, given = self._graphs[key], (beta, share, *inputs)
        self._passes[key] = (passes := self._passes.get(key, 0)) + 1
        if passes % self._check_every:
            (_, sums, norm), gradients = graph(*given)
        else:
            coarse = self._program.arithmetic
            (_, sums, norm), gradients = graph.checked(partial(self._pass, like), given, coarse)
        for leaf, gradient in zip(graph.leaves, gradients, strict=True):
            leaf.grad = gradient if leaf.grad is None else leaf.grad + gradient
        return sums, norm

    def _pass(
        self,
        like: Callable[[tuple[Tensor, ...]], Batch] | None,
        beta: Tensor,
        share: Tensor,
        *given: Tensor,
    ) -> tuple[Tensor, Tensor]:
        batch = given[0] if like is None else like(given)
        loss, sums = self._program(self._program.vae.observe(batch), beta)
        return loss * share, sums
