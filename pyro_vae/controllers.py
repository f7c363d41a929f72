r"""Controllers: adapt β during training until the KL or the reconstruction meets a target.

A controller steers log β by a proportional and an integral term,

.. math:: I_{t+1} = I_t + k_I\,e_t, \qquad \log\beta_{t+1} = I_{t+1} + k_P\,e_t,

where e is the relative excess of the KL, cut to [−1, 1] and averaged over the last steps where the
controller says so. Everything stays on the device: β is a
0-dim tensor for ``poutine.scale``, and no step waits for a figure to reach the host.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor

__all__ = ["Controller", "TargetKL", "TargetReconstruction"]

_STATE = ("_integral", "_log_beta", "_error")


class Controller(ABC):
    """β from the last step's figures.

    A subclass says by how much the KL is too large relative to itself (:meth:`excess`); the rest
    is common. Working on log β keeps β positive, treats 0.05 and 50 alike and needs no knowledge
    of the data's size. The integral stops where β meets a bound, so that it never winds up.

    Args:
        target: What is to be met, in nats per image.
        beta: β at the first step.
        integral: k_I, per step; 1/k_I steps of the largest error change β by a factor 2.7.
        proportional: k_P.
        average: Weight of the past in the error's moving average, in [0, 1).
        bounds: Least and greatest β.

    Attributes:
        target: The target.

    Raises:
        ValueError: If an argument is not finite or outside its range.
    """

    def __init__(
        self,
        target: float,
        *,
        beta: float = 1.0,
        integral: float = 0.03,
        proportional: float = 0.3,
        average: float = 0.0,
        bounds: tuple[float, float] = (1e-3, 1e3),
    ) -> None:
        if not math.isfinite(target):
            raise ValueError(f"{self.name} must be finite, got {target}")
        low, high = bounds
        if not 0 < low <= beta <= high < math.inf:
            raise ValueError(f"beta must be positive, finite and within {bounds}, got {beta}")
        if not (0 < integral < math.inf and 0 <= proportional < math.inf):
            raise ValueError(f"gains must be positive and finite, got {integral}, {proportional}")
        if not 0 <= average < 1:
            raise ValueError(f"average must be at least 0 and below 1, got {average}")
        self.target = float(target)
        self._average = average
        self._gains = (integral, proportional)
        self._bounds = (math.log(low), math.log(high))
        self._integral = torch.tensor(math.log(beta))
        self._log_beta = self._integral.clone()
        self._error = torch.zeros(())

    @property
    @abstractmethod
    def name(self) -> str:
        """The target's name in messages."""

    @abstractmethod
    def excess(self, kl: Tensor, reconstruction: Tensor) -> Tensor:
        """How far the KL is above what the target wants, relative to it; any size, 0-dim."""

    @property
    def beta(self) -> Tensor:
        """β for the next step, a positive 0-dim float32 tensor."""
        return self._log_beta.exp()

    @torch.no_grad()
    def update(self, *, kl: Tensor, reconstruction: Tensor) -> Tensor:
        """Take the figures of one step.

        A figure that is not a number leaves β where it is.

        Args:
            kl: Mean KL of the batch, nats per image, 0-dim.
            reconstruction: Mean log-likelihood of the batch, nats per image, 0-dim.

        Returns:
            β for the next step, 0-dim.
        """
        error = self.excess(kl.detach(), reconstruction.detach())
        error = error.clamp(-1.0, 1.0).nan_to_num(0.0).to(self._integral)
        self._error = self._average * self._error + (1 - self._average) * error
        integral, proportional = self._gains
        self._integral = (self._integral + integral * self._error).clamp(*self._bounds)
        self._log_beta = (self._integral + proportional * self._error).clamp(*self._bounds)
        return self.beta

    def to(self, device: torch.device | str) -> Self:
        """Move the state to a device, in place; returns itself."""
        for name in _STATE:
            setattr(self, name, getattr(self, name).to(device))
        return self

    def state_dict(self) -> dict[str, float]:
        """The state as plain numbers, exact."""
        return {name.lstrip("_"): getattr(self, name).item() for name in _STATE}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Take up a state that :meth:`state_dict` gave, on the present device."""
        for name in _STATE:
            setattr(self, name, torch.full_like(getattr(self, name), state[name.lstrip("_")]))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.target:g})"


class TargetKL(Controller):
    r"""Hold the KL at a target, :math:`e = \mathrm{KL} / \mathrm{target} - 1`.

    ControlVAE's proportional-integral control with anti-windup (Shao et al. 2020). The paper's β
    stays within [0, 1] and its gains have units of nats; here it is log β that moves, by the
    relative error, so that one setting serves targets and likelihoods of any size.

    Args:
        target: Nats per image, positive.
        **settings: See :class:`Controller`.

    Raises:
        ValueError: If the target is not positive and finite.

    Example:
        >>> controller = TargetKL(25.0)
        >>> for _ in range(100):  # the KL is double the target: β must rise
        ...     beta = controller.update(kl=torch.tensor(50.0), reconstruction=torch.tensor(-90.0))
        >>> beta
        tensor(27.1126)
    """

    name = "target KL"

    def __init__(self, target: float, **settings: Any) -> None:
        if not (math.isfinite(target) and target > 0):
            raise ValueError(f"target KL must be positive and finite, got {target}")
        super().__init__(target, **settings)

    def excess(self, kl: Tensor, reconstruction: Tensor) -> Tensor:
        """KL / target − 1."""
        return kl / self.target - 1


class TargetReconstruction(Controller):
    r"""Hold the reconstruction at a target with the least KL (GECO, Rezende & Viola 2018).

    GECO minimises KL + λ (target − reconstruction) and adapts the multiplier λ = 1/β, whose
    logarithm follows the violated constraint. Here the constraint is measured in units of β·KL,

    .. math:: e = (\mathrm{reconstruction} - \mathrm{target}) / (\beta\,\mathrm{KL}),

    because along the frontier a nat of KL buys β nats of reconstruction: e is then the relative
    excess of the KL, whatever the likelihood's scale. As in GECO a moving average smooths it.
    While no β reaches the target (a learned σ is still large) β falls to its least value.

    Args:
        target: Log-likelihood in nats per image (higher is better; densities may be positive).
        average: See :class:`Controller`.
        **settings: See :class:`Controller`.

    Raises:
        ValueError: If the target is not finite.

    Example:
        >>> controller = TargetReconstruction(-80.0)
        >>> for _ in range(100):  # too blurred: β must fall
        ...     beta = controller.update(kl=torch.tensor(10.0), reconstruction=torch.tensor(-90.0))
        >>> bool(beta < 1)
        True
    """

    name = "target reconstruction"

    def __init__(self, target: float, *, average: float = 0.9, **settings: Any) -> None:
        super().__init__(target, average=average, **settings)

    def excess(self, kl: Tensor, reconstruction: Tensor) -> Tensor:
        """(reconstruction − target) / (β KL)."""
        return (reconstruction - self.target) / (self.beta * kl)
