"""Verifying: a short run from the start with what a diagnosis says mends it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from pyro_vae import networks
from pyro_vae.config import FitConfig
from pyro_vae.data import as_images
from pyro_vae.data.batch import Given
from pyro_vae.diagnostics.diagnosing import Diagnosis, diagnose
from pyro_vae.errors import InputError
from pyro_vae.heads import Head, Param
from pyro_vae.noise import fixed_noise, noise
from pyro_vae.training import fit
from pyro_vae.types import JSON, Fields
from pyro_vae.vae import VAE

__all__ = ["Verification", "verify"]

_EPOCHS = 10
_STEPS = 1000
_SLOW = ("trained-too-long", "sigma-too-flexible")
"""Causes that only as many epochs as the run had can bring about again."""


@dataclass(frozen=True)
class Verification:
    """A run before and after its mend.

    Attributes:
        changes: What was changed, as options of ``fit`` and of the model by name.
        epochs: Epochs of the short run.
        before: The diagnosis of the run.
        after: That of the short run.
    """

    changes: Mapping[str, Any]
    epochs: int
    before: Diagnosis
    after: Diagnosis

    @property
    def mended(self) -> bool:
        """Whether the first cause is no longer that, and the short run not worse than before.

        Of a run that was too short it is enough that a longer one is better than it was, and than
        all baselines: it may still be gaining.
        """
        cause, before, after = self.before.causes[0], self.before.evidence, self.after.evidence
        gone = cause.code not in [found.code for found in self.after.causes[:1]]
        longer = cause.verdict == "unfinished" and after.score > before.score and not after.below
        return (gone or longer) and self.after.verdict not in ("collapsed", "diverging")

    def to_dict(self) -> dict[str, object]:
        """Plain data for JSON."""
        return {
            "changes": dict(self.changes),
            "epochs": self.epochs,
            "mended": self.mended,
            "after": self.after.to_dict(),
        }


def verify(
    vae: VAE,
    found: Diagnosis,
    images: Given,
    held_out: Given | None = None,
    settings: Fields | None = None,
    net: networks.Networks | tuple[nn.Module, nn.Module] | str | None = None,
    prior: Callable[..., nn.Module] | str | None = None,
    posterior: Callable[..., nn.Module] | str | None = None,
) -> Verification:
    """Train anew from the start, briefly, with the first cause's mend.

    Nothing is written, and the model is left alone.

    Args:
        vae: The model that was diagnosed.
        found: Its diagnosis.
        images: Training images.
        held_out: Held-out images, or None.
        settings: Options of ``fit`` that it was trained with.
        net: Networks to take instead of its own; needed where those are the user's.
        prior: What makes its prior anew, likewise.
        posterior: What makes its posterior anew, likewise.

    Raises:
        InputError: If there is no cause, no option mends it and no networks are given, or its
            networks, prior or posterior cannot be made anew.

    Example:
        >>> import pyro_vae as pv
        >>> digits = pv.data.load("mnist-5k")
        >>> vae = pv.VAE((1, 28, 28), 5, "normal", pv.networks.MLP(hidden=32))
        >>> history = pv.fit(vae, digits.train[:512], epochs=3, beta=100)
        >>> found = pv.diagnose(vae, digits.test, history, {"beta": "100"})
        >>> mended = pv.diagnostics.verify(vae, found, digits.train[:512], digits.test)
        >>> mended.changes, mended.before.verdict, mended.mended
        ({'beta': '1'}, 'collapsed', True)
    """
    if not found.causes:
        raise InputError(f"there is nothing to mend: the verdict is {found.verdict}")
    cause = found.causes[0]
    if not cause.changes and net is None:
        raise InputError(f"no option mends {cause.code}: it takes {cause.mend}")
    train = as_images(images, vae.data_shape)
    changed = FitConfig.of(**_changed(cause.changes, settings or {}, cause.code, len(train)))
    changed = changed.settled(validation=False)  # by images that it is judged by
    with fixed_noise(noise("weights", changed.seed), train.device):
        fresh = _rebuilt(vae, cause.changes, net, prior, posterior).to(train.device)
    history = fit(fresh, train, held_out, **changed.to_dict())
    shown, seen = (train, None) if held_out is None else (held_out, train)
    after = diagnose(fresh, shown, history, changed.to_dict(), seen)
    assert isinstance(after, Diagnosis)  # of the model of one observation that was diagnosed so
    return Verification(cause.changes, len(history.epochs()), found, after)


def _changed(changes: Fields, settings: Fields, code: str, images: int) -> JSON:
    """Options of ``fit`` for the short run."""
    known = FitConfig.of(**settings).to_dict()
    known.update((name, value) for name, value in changes.items() if name in known)
    if "beta" in changes:
        known.update(target_kl=None, target_reconstruction=None)  # they adapt β
    epochs = known["epochs"]
    if code not in _SLOW:
        # Few images make few steps an epoch.
        steps = -(-images // known["batch_size"])
        least = max(_EPOCHS, math.ceil(_STEPS / steps))
        epochs = max(epochs, least) if "epochs" in changes else least
    return {**known, "epochs": epochs}


def _rebuilt(
    vae: VAE,
    changes: Fields,
    net: networks.Networks | tuple[nn.Module, nn.Module] | str | None,
    prior: Callable[..., nn.Module] | str | None,
    posterior: Callable[..., nn.Module] | str | None,
) -> VAE:
    """The model anew, with the changes that are its own."""
    if net is None and vae.net is None:
        raise InputError("networks of your own cannot be made anew: pass net=")
    p, q = prior or vae.prior_spec, posterior or vae.posterior_spec
    if p is None or q is None:
        raise InputError(
            "a prior or a posterior of your own cannot be made anew: pass prior= or posterior="
        )
    latents = changes.get("latent_dim", vae.latent_dims)
    return VAE(
        vae.data_shape,
        latents,
        _head(vae.obs, changes),
        net or vae.net or {},
        prior=p,
        posterior=q,
    )


def _head(head: Head, changes: Fields) -> Head:
    parameters: dict[str, Any] = {}
    if "scale" in changes:
        source = "residual" if changes["scale"] == "batch" else "learned"
        parameters[head.scale or "scale"] = Param(changes["scale"], source=source)
    if "link" in changes:
        parameters[head.location or "loc"] = Param(link=changes["link"])
    return head.replace(None, changes.get("interval"), changes.get("scaled"), **parameters)
