"""What stands in for arguments that are no plain tensor: several at once, or a posterior."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Normal

from pyro_vae.loss_audit.wording import Parametrisation, scores

__all__: list[str] = []


class Posterior(Normal):
    """A Gaussian over the code with the attributes that people's own classes have."""

    def __init__(self, mean: Tensor, log_var: Tensor) -> None:
        self.logvar = self.log_var = log_var
        super().__init__(mean, (0.5 * log_var).exp(), validate_args=False)
        self.mu, self.std, self.sigma, self.var = mean, self.scale, self.scale, log_var.exp()

    def kl(self, other: Any = None) -> Tensor:
        """KL(q || N(0, I)), summed per image."""
        each = 0.5 * (self.loc.square() + self.var - 1 - self.log_var)
        return each.flatten(1).sum(1)

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        """A draw with gradient, as those classes give it."""
        return self.rsample(sample_shape)


class Whole(tuple[Tensor, ...]):
    """Several tensors in one argument: unpacked, by attribute or by key, as the function likes."""

    roles: Sequence[str]

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], roles: Sequence[str]) -> Whole:
        """The tensors of some roles, in this order."""
        made = cls(tensors[role] for role in roles)
        made.roles = roles
        return made

    def _named(self, name: str) -> Tensor:
        fits = {role: score for role, score in scores(name).items() if role in self.roles}
        best = max(fits, key=lambda role: fits[role])
        if not fits[best]:
            raise AttributeError(f"an argument has no part {name!r} that a name could tell")
        found: Tensor = super().__getitem__(list(self.roles).index(best))
        return found

    def __getattr__(self, name: str) -> Tensor:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._named(name)

    def __getitem__(self, key: Any) -> Any:
        return self._named(key) if isinstance(key, str) else super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and any(scores(key).values())

    def get(self, key: str, default: Any = None) -> Any:
        """As of a dict."""
        return self._named(key) if key in self else default


#: Kinds of masks to try, for a name that says what counts and for one that says padding: nothing
#: is masked in the first four, and the others mean the opposite of what their names say.
_KINDS = ("of each value", "of each value as bool", "of each place", "of each place as bool")
MASKS = tuple(
    (f"mask of {kept} {kind}", f"mask of {padded} {kind}")
    for kept, padded in (("ones", "zeros"), ("zeros", "ones"))
    for kind in _KINDS
)


def mask(kind: str, x_hat: Tensor) -> Tensor:
    """One of `MASKS`."""
    values = x_hat.detach() if "each value" in kind else x_hat.detach().select(-1, 0)
    made = torch.ones_like(values) if "ones" in kind else torch.zeros_like(values)
    return made.bool() if kind.endswith("bool") else made


def draw(mean: Tensor, scale: Tensor, kind: Parametrisation | None) -> Tensor:
    """A sample of the code, as the model would have drawn it."""
    std = {
        "std": lambda: scale.abs(),
        "variance": lambda: scale.abs().sqrt(),
        "log-std": lambda: scale.exp(),
    }.get(kind or "", lambda: (0.5 * scale).exp())()
    return mean + std * torch.randn_like(mean)
