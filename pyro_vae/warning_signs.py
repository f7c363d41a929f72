"""Warning signs in a run's records, in the words that training and diagnosis share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pyro_vae.data import context, plain
from pyro_vae.data.batch import Loaded
from pyro_vae.elbo.scores import BLOCK, evaluation_mode
from pyro_vae.history import ObjectiveKey, Record, value_of
from pyro_vae.vae import VAE

__all__: list[str] = []

FIRST = 50
"""Steps in which a learning rate that is too high shows in the KL."""

KL_PEAK = 1e3
"""Nats per image within those steps; healthy runs peak at 15 to 107."""

DEAD = 0.9
"""Share of the encoder's ReLUs that are 0 for every image; healthy .37 to .47."""

SILENT = 0.01
"""Nats: the KL of a latent that says nothing."""

FALLEN = 0.15
"""Share of what the held-out score had gained; a healthy default run comes to a tenth."""

FEW = 10
"""Held-out images below which they are too few to judge a model by."""

STEPS = 300
"""Steps within which nothing is made of latents that say nothing."""

WARM = 10
"""Epochs of a warm-up of β that may mend them."""

_WAIT = 5
_EPOCHS = 3


def exploded_words(peak: float | None, dead: float | None, finite: bool = True) -> str:
    """What speaks for a learning rate that is too high.

    Args:
        peak: Largest KL of the first steps, nats per image.
        dead: Share of the encoder's activations that are 0 for every image.
        finite: Whether weights and losses are finite.
    """
    said = [] if peak is None else [f"the KL reached {peak:.3g} nats in its first steps"]
    if dead is not None:
        said.append(f"{dead:.0%} of the encoder's units are 0 for every image")
    if not finite:
        said.append("weights or losses are not finite")
    return "; ".join(said)


def few_words(count: int, each: str = "image") -> str | None:
    """That so many held-out images are too few to judge by; None if they are enough, or none.

    Args:
        count: How many.
        each: What one is called.
    """
    if not 0 < count < FEW:
        return None
    number = f"1 held-out {each} is" if count == 1 else f"{count} held-out {each}s are"
    return f"{number} too few to judge by: give {FEW} or more"


def lower_rate(lr: float) -> float:
    """A learning rate to try where this one was too high."""
    return min(1e-3, lr / 10)


def collapsed_words(active: int, latent_dim: int, largest: float | None) -> str:
    """What collapse is, in numbers.

    Args:
        active: Number of active units.
        latent_dim: Length of z.
        largest: Largest KL of a latent, nats; None where it is not known by latent.
    """
    said = f"{active} of {latent_dim} units are active"
    return said if largest is None else f"{said}, the largest KL of one is {largest:.2g} nats"


def ignored_mend(options: str) -> str:
    """What may mend latents that a decoder has no use for.

    Args:
        options: A warm-up of β, as options of ``fit``.
    """
    return f"a decoder that uses z, another --seed, or {options}"


def fallen_words(share: float) -> str:
    """How far a held-out score has come down."""
    if share > 1:
        return "has lost more than it had gained"
    return f"has lost {share:.0%} of what it had gained"


def exploded(
    vae: VAE, images: Loaded, steps: Sequence[Record], active_units: int, lr: float
) -> str | None:
    """Whether the first steps have thrown the encoder out of its range for good.

    Args:
        vae: The model.
        images: Training images, levels (uint8) or floats; the first ones are looked at.
        steps: The steps' records.
        active_units: Active units of the last epoch.
        lr: Learning rate.

    Returns:
        One line, or None: the KL must have exceeded 1,000 nats within the first 50 steps, and the
        encoder's activations be dead or no unit active.
    """
    peak = max(record["kl"] for record in steps[:FIRST])
    if not peak >= KL_PEAK:
        return None
    dead = dead_units(vae, images[:BLOCK])
    if active_units and (dead is None or dead < DEAD):
        return None
    said = exploded_words(peak, dead)
    return f"learning-rate-too-high: {said}: start anew with --lr {lower_rate(lr):g}"


def collapsed(training: Sequence[Record], latent_dim: int) -> str | None:
    """Whether no latent has come to say anything.

    Args:
        training: The epochs' records of training images.
        latent_dim: Length of z.

    Returns:
        One line, or None: no unit must have been active for 3 epochs at one β, after at least 300
        steps.
    """
    last = training[-_EPOCHS:]
    if len(last) < _EPOCHS or last[-1]["step"] < STEPS:
        return None
    if any(record["active_units"] or record["beta"] != last[-1]["beta"] for record in last):
        return None
    each = last[-1]["kl_per_latent"]
    said = collapsed_words(0, latent_dim, max(each) if each else None)
    mend = ignored_mend(f"--beta linear:0,{last[-1]['beta']:g},epochs={WARM}")
    return f"collapsed: {said}, although the forecast is not collapse: {mend}"


@torch.no_grad()
def dead_units(vae: VAE, images: Loaded) -> float | None:
    """Share of the encoder's activations that are 0 for every image; None where none ever is 0.

    Args:
        vae: The model.
        images: Levels (uint8) or floats, (N, *data_shape).
    """
    alive: dict[tuple[nn.Module, torch.Size], Tensor] = {}
    zeros = False

    def look(module: nn.Module, inputs: object, output: object) -> None:
        nonlocal zeros
        if not isinstance(output, Tensor):  # of attention, which torch has among activations
            return
        some = (output != 0).any(0)
        zeros = zeros or bool((output == 0).any())
        # One module may serve several layers.
        key = (module, some.shape)
        alive[key] = some | alive.get(key, torch.zeros_like(some))

    layers = [module for module in vae.encoder.modules() if _is_activation(module)]
    hooks = [layer.register_forward_hook(look) for layer in layers]
    try:
        with evaluation_mode(vae):
            for part in images.split(BLOCK):
                vae.encode(part)
    finally:
        for hook in hooks:
            hook.remove()
    if not zeros:
        return None
    total = sum(some.numel() for some in alive.values())
    return 1 - float(sum(some.sum() for some in alive.values())) / total


def _is_activation(module: nn.Module) -> bool:
    """Whether it is one of torch's, or a subclass of one."""
    return any(kind.__module__ == nn.ReLU.__module__ for kind in type(module).__mro__)


def overfitting(
    vae: VAE,
    training: Sequence[Record],
    held_out: Sequence[Record],
    key: ObjectiveKey,
) -> str | None:
    """Whether the held-out score has been falling while the training score rises.

    Args:
        vae: The model.
        training: The epochs' records of training images.
        held_out: Those of held-out images.
        key: ``"elbo"`` or ``"objective"``.

    Returns:
        One line, or None: the held-out score must have been better by 15% of what it had gained,
        at least 5 epochs ago.
    """
    if len(held_out) <= _WAIT or len(training) != len(held_out):
        return None
    scores = [value_of(record, key) for record in held_out]
    best = max(range(len(scores)), key=lambda i: scores[i])
    share = (scores[best] - scores[-1]) / max(scores[best] - scores[0], 1e-9)
    risen = value_of(training[-1], key) > value_of(training[best], key)
    if len(scores) - 1 - best < _WAIT or not risen or share <= FALLEN:
        return None
    # A scale without a location is what moves the data itself.
    apart = not vae.joint and vae.obs.location is not None
    scale = vae.obs.of_role("scale") if apart else None
    shared = scale is None or scale.origin != "learned" or scale.scope not in ("image", "pixel")
    wider = "" if shared else "share σ more widely (--sigma-per dataset), "
    return (
        f"overfitting: the held-out {key} was best at epoch {held_out[best]['epoch']} "
        f"({scores[best]:.1f}) and {fallen_words(share)}, while training's has risen: "
        f"{wider}{'add --dropout, or ' if 'dropout' in (vae.net or {}) else ''}"
        "stop earlier (--patience)"
    )


def worse_than_mean_image(
    vae: VAE, images: Loaded, training: Sequence[Record], key: ObjectiveKey
) -> str | None:
    """Whether a loss whose σ is the error's own falls while its pictures are no pictures.

    Per pixel that loss is log|x − mean| above the floor: an exact hit on a pixel's commonest value
    pays more than coming close to all the others, so black everywhere beats any digit.

    Args:
        vae: The model.
        images: Training images, levels (uint8) or floats; the first ones are looked at.
        training: The epochs' records of training images.
        key: ``"elbo"`` or ``"objective"``.

    Returns:
        One line, or None: the score must have risen over at least 3 epochs, while the squared
        error of the mean reconstruction is above that of the mean image.
    """
    own = [param.scope for _, param in vae.obs.parameters if param.origin == "residual"]
    if not {"image", "pixel"} & set(own):
        return None
    if len(training) < _EPOCHS or value_of(training[-1], key) <= value_of(training[0], key):
        return None
    error, of_mean_image = _squared_errors(vae, images[:BLOCK])
    if error <= of_mean_image:
        return None
    wider = "batch" if own[0] == "image" else "image or batch"
    return (
        f"diverging: the loss falls while the squared error of its mean, {error:.3g} per pixel, is "
        f"above the mean image's {of_mean_image:.3g}: with σ per {own[0]} the error's own, hitting "
        "the commonest value exactly pays more than any picture: share σ more widely "
        f"(--sigma-per {wider})"
    )


@torch.no_grad()
def _squared_errors(vae: VAE, images: Loaded) -> tuple[float, float]:
    """Of the mean reconstruction and of the mean image, in the observation's unit."""
    with evaluation_mode(vae):
        mean = vae.decode(vae.code(images), **context(images)).mean
    x = plain(images)
    if x.dtype == torch.uint8:
        x = vae.levels.observe(x, None, vae.obs.interval)
    return float((x - mean).square().mean()), float((x - x.mean(0)).square().mean())
