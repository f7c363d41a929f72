"""The state of a training run: everything that a step changes."""

from __future__ import annotations

import copy
import math
from contextlib import nullcontext
from typing import cast

import pyro
import torch
from pyro.poutine import Trace
from torch import Tensor, nn

from pyro_vae import elbo, objectives, optimisers, schedules
from pyro_vae.config import FitConfig
from pyro_vae.data import Batch, Images, augment
from pyro_vae.data.batch import Loaded
from pyro_vae.elbo.scores import ElboScores
from pyro_vae.errors import InputError
from pyro_vae.history import History, Record, value_of
from pyro_vae.noise import fixed_noise, noise
from pyro_vae.objectives.capture import NotCapturedError
from pyro_vae.training import distributed, runs
from pyro_vae.training.compiling import compiled
from pyro_vae.training.step_metrics import total
from pyro_vae.training.train_step import PRECISIONS, TrainStep
from pyro_vae.training.weights import Averaged
from pyro_vae.types import JSON, Fields
from pyro_vae.vae import VAE

__all__: list[str] = []


_PARTS = ("optimiser", "scaler", "per_epoch", "controller", "average")
"""Attributes with a state of their own."""


def norms(vae: nn.Module) -> list[nn.Module]:
    """Layers that normalise over a batch."""
    return [
        module for module in vae.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)
    ]


def check_norms(vae: nn.Module, images: int, batch_size: int) -> None:
    """Make sure that layers which normalise over a batch have one.

    Raises:
        InputError: If every batch is of one image.
    """
    flat = [module for module in norms(vae) if isinstance(module, nn.BatchNorm1d)]
    if flat and min(images, batch_size) == 1:
        raise InputError(
            f"BatchNorm1d normalises over a batch, and each here is of one image ({images} in "
            f"all, batch-size {batch_size}): give more, or use LayerNorm"
        )


class NotFiniteError(ArithmeticError):
    """A step whose loss or gradient was not finite; the weights are as they were."""


class TrainState:
    """Model, objective, optimiser, schedule or controller, averages, and the step they are at.

    Args:
        vae: The model.
        settings: How to train it.
        images: Number of training images.
    """

    def __init__(self, vae: VAE, settings: FitConfig, images: int) -> None:
        self.vae, self.settings = vae, settings
        self.steps_per_epoch = len(self.batches(torch.arange(images)))
        self.total_steps = self.steps_per_epoch * settings.epochs
        self.step = 0
        self.objective = settings.objective()
        self.program = TrainStep(vae, self.objective, settings.precision)
        self.passes = distributed.parallel(self.program)
        self.compiled = compiled(self.program, settings, self.total_steps)
        self.not_compiled: str | None = None
        self.schedule = settings.schedule().in_steps(self.steps_per_epoch)
        self.controller = settings.controller()
        self.augment = augment.make(settings.augment, vae.data_shape)
        self.device = next(vae.parameters()).device
        self.beta, self.share = torch.zeros(2, device=self.device).unbind()
        if self.controller is not None:
            self.controller.to(self.device)
        self.parameters: list[nn.Parameter] = [p for p in vae.parameters() if p.requires_grad]
        self.optimiser = optimisers.make_optimiser(
            settings.optimizer,
            self.parameters,
            settings.lr,
            settings.weight_decay,
            _inputs(vae) if settings.scale_lr else None,
        )
        self.per_step, self.per_epoch = optimisers.make_schedules(
            settings.lr_schedule, self.optimiser, self.total_steps, settings.lr_warm_up
        )
        half = PRECISIONS[settings.precision] is torch.float16
        # torch's own 2^16 is more than float16 holds of a loss of hundreds of nats.
        self.scaler = torch.amp.GradScaler(self.device.type, init_scale=2.0**8, enabled=half)
        self.average = None
        if settings.average is not None:
            self.average = Averaged(vae, settings.average)
        self.best: tuple[float, dict[str, Tensor]] | None = None
        self.waited = 0

    def batches(self, order: Tensor) -> list[Tensor]:
        """The rows of each step of an epoch.

        Args:
            order: Of all rows.
        """
        parts = list(order.split(self.settings.batch_size))
        if len(parts) > 1 and len(parts[-1]) == 1 and norms(self.vae):
            # A single image has no variance to be normalised by: the batch before it takes it in.
            parts[-2:] = [torch.cat(parts[-2:])]
        return parts

    @property
    def averaged(self) -> VAE:
        """The model to score: its averaged copy where there is one."""
        return self.vae if self.average is None else cast(VAE, self.average.module)

    def warnings(self) -> list[str]:
        """What is wrong with the settings before the first step."""
        message = schedules.check_length(self.schedule, self.total_steps)
        return [message] if message else []

    def advance(self, batch: Loaded, images: int | None = None) -> Tensor:
        """One step.

        Args:
            batch: Levels (uint8) or floats, (N, *data_shape); this process's part of the step's.
            images: Number of the step's images in all processes, N by default.

        Returns:
            A row of ``StepMetrics``, on the model's device.

        Raises:
            NotFiniteError: If the loss or the gradient is not finite.
        """
        images, beta = images or len(batch), self.present_beta()
        sums, norm = self._backward(batch, beta, images)
        sums = distributed.total(sums)
        # The one figure of a step that the host waits for: an update by it cannot be taken back.
        # A gradient that float16 cannot hold is no fault: its scaler leaves the update out.
        if not math.isfinite(sums[0] if self.scaler.is_enabled() else sums[0] + norm):
            self.optimiser.zero_grad()
            raise NotFiniteError
        lr = norm.new_full((), self.optimiser.param_groups[0]["lr"])
        row = torch.cat([sums, torch.stack([beta, norm, lr])])
        self._update()
        if self.controller is not None:
            layout = self.program.layout
            kl, reconstruction = (total(layout, sums, key) for key in ("kl", "reconstruction"))
            self.controller.update(kl=kl / images, reconstruction=reconstruction / images)
        return row

    def _backward(self, batch: Loaded, beta: Tensor, images: int) -> tuple[Tensor, Tensor]:
        """Gradients of a step, sums over this process's images, and the gradients' norm."""
        parts, total, norm = _chunks(batch, self.settings.accumulate), None, None
        for i, part in enumerate(parts):
            with distributed.silent(self.passes) if i + 1 < len(parts) else nullcontext():
                # Gradients are averaged over processes where the parts of a batch are summed.
                sums, norm = self._pass(part, beta, distributed.count() / images)
            total = sums if total is None else total + sums
        assert total is not None  # no batch is empty
        if norm is None or len(parts) > 1 or self.settings.clip is not None:
            norm = self._norm()
        return total, norm

    def _pass(self, part: Loaded, beta: Tensor, share: float) -> tuple[Tensor, Tensor | None]:
        """The sums of a part of a batch, and its gradient's norm where a graph has computed it."""
        # The first step is always Pyro's own: checks are made in it that a graph has no place for.
        if self.compiled is not None and self.step > 0:
            part = self._augmented(part)
            try:
                return self.compiled.add_gradients(part, beta, self.share.fill_(share))
            except NotCapturedError as error:
                self.compiled, self.not_compiled = None, f"steps are not compiled: {error}"
            shown = self.vae.observe(part)
        else:
            shown = self._shown(part)
        loss, sums = cast(tuple[Tensor, Tensor], self.passes(shown, beta))
        self.scaler.scale(loss * share).backward()
        return sums, None

    def _norm(self) -> Tensor:
        """The gradient's norm; the gradient is clipped then."""
        self.scaler.unscale_(self.optimiser)
        if self.settings.clip is not None:
            return nn.utils.clip_grad_norm_(self.parameters, self.settings.clip)
        return nn.utils.get_total_norm([p.grad for p in self.parameters if p.grad is not None])

    def _update(self) -> None:
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.optimiser.zero_grad()
        for scheduler in self.per_step:
            scheduler.step()
        if self.average is not None:
            self.average.update_parameters(self.vae)
        self.step += 1

    def _augmented(self, batch: Loaded) -> Loaded:
        if self.augment is None:
            return batch
        if isinstance(batch, Batch):
            return batch.with_x(self.augment(batch.x))
        return self.augment(batch)

    def _shown(self, batch: Loaded) -> Loaded:
        """What the observation is shown of a batch of images."""
        shown: Loaded = self.vae.observe(self._augmented(batch))
        return shown

    def traces(self, batch: Loaded) -> tuple[Loaded, tuple[Trace, Trace]]:
        """What the observation is shown, and the traces of model and guide on it.

        Args:
            batch: Levels (uint8) or floats, (N, *data_shape).
        """
        x = self._shown(batch)
        return x, self.program.traces(x, self.present_beta())

    def present_beta(self) -> Tensor:
        """β of the step that comes next."""
        if self.controller is not None:
            return self.controller.beta
        return self.beta.fill_(self.schedule(self.step))

    def start_beta(self, beta: float) -> None:
        """Let a controller begin at a β that an earlier training had come to."""
        if self.controller is not None:
            log = math.log(beta)
            self.controller.load_state_dict({"integral": log, "log_beta": log, "error": 0.0})

    @torch.no_grad()
    def held_out_loss(self, images: Images, beta: float, scores: ElboScores) -> float:
        """What is minimised, on held-out images: per image, under fixed noise.

        Args:
            images: Levels (uint8) or floats, (N, *data_shape).
            beta: β of the last step.
            scores: The images' scores, of which the ELBO's loss is made.
        """
        if isinstance(self.objective, objectives.TraceELBO | objectives.MeanFieldELBO):
            return float(beta * scores["kl"] - scores["reconstruction"])
        vae, total = self.averaged.eval(), torch.zeros((), device=self.beta.device)
        scale = torch.full_like(self.beta, beta)
        for block, batch in enumerate(images.split(elbo.BLOCK)):
            with (
                fixed_noise(noise("objective", block=block), images.device),
                elbo.local_params(),
                pyro.validation_enabled(False),
            ):
                x = vae.observe(batch)
                total += self.objective.differentiable_loss(vae.model, vae.guide, x, beta=scale)
        return float(total) / len(images)

    def settled(self) -> bool:
        """Whether the last step's β was its schedule's final one; a controlled β always counts."""
        return self.controller is not None or self.schedule(self.step - 1) == self.schedule.final

    def end_epoch(self, held_out: Record | None, history: History) -> bool:
        """Take note of a held-out score; True if training should stop.

        Scores count where β has settled: others belong to another objective.
        """
        if held_out is None or not self.settled():
            return False
        score = distributed.agreed(value_of(held_out, history.objective), self.device)
        if self.per_epoch is not None:
            self.per_epoch.step(score)
        self.waited += 1
        # What is not finite is never the best, nor better than what comes.
        if math.isfinite(score) and (self.best is None or score > self.best[0]):
            weights = {}
            if self.settings.keep_best:
                weights = copy.deepcopy(self.averaged.state_dict())
            self.best, self.waited = (score, weights), 0
        patience = self.settings.patience
        return patience is not None and self.waited >= patience

    def state_dict(self) -> JSON:
        """Everything that a step or an epoch changes: tensors and plain data."""
        kept = {name: getattr(self, name) for name in _PARTS}
        return {
            **{name: None if part is None else part.state_dict() for name, part in kept.items()},
            "vae": self.vae.state_dict(),
            "per_step": [scheduler.state_dict() for scheduler in self.per_step],
            "best": self.best,
            "waited": self.waited,
            "step": self.step,
        }

    def load_state_dict(self, saved: Fields) -> None:
        """Go back to a state that :meth:`state_dict` gave, for the same settings."""
        runs.put_weights(self.vae, saved["vae"])
        for name in _PARTS:
            part = getattr(self, name)
            if part is not None:
                part.load_state_dict(saved[name])
        for scheduler, state in zip(self.per_step, saved["per_step"], strict=True):
            scheduler.load_state_dict(state)
        self.best, self.waited, self.step = saved["best"], saved["waited"], saved["step"]

    def lower_rate(self, factor: float) -> None:
        """Multiply the learning rate, now and for the rest of its schedule."""
        for group in self.optimiser.param_groups:
            group["lr"] *= factor
            if "initial_lr" in group:
                group["initial_lr"] *= factor
        for scheduler in self.per_step:
            scheduler.base_lrs = [rate * factor for rate in scheduler.base_lrs]

    def finish(self) -> None:
        """Leave the model with its final weights, in evaluation mode."""
        if self.best is not None and self.settings.keep_best:
            runs.put_weights(self.vae, self.best[1])
        elif self.average is not None:
            runs.put_weights(self.vae, self.averaged.state_dict())
        self.vae.eval()


def _inputs(module: nn.Module) -> dict[nn.Parameter, int]:
    """How many inputs each linear layer's weight adds up."""
    layers = [each for each in module.modules() if isinstance(each, nn.Linear)]
    learned = [layer for layer in layers if isinstance(layer.weight, nn.Parameter)]
    return {cast(nn.Parameter, layer.weight): layer.in_features for layer in learned}


def _chunks(batch: Loaded, count: int) -> list[Loaded]:
    """A batch in as many parts as ``torch.chunk`` makes of it."""
    return list(batch.split(-(-len(batch) // count)))
