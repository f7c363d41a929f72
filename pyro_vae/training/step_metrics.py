"""What is kept of each step: sums over its images in a row of numbers, read once an epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from pyro.poutine import Trace
from torch import Tensor

from pyro_vae import elbo
from pyro_vae.history import Figures

__all__: list[str] = []

_STEP = ("beta", "gradient_norm", "learning_rate")
"""What a row ends with."""

Layout = dict[str, int]
"""What a row holds in its order, and how many numbers of each. Sums over images are called
``loss``, ``reconstruction/SITE``, ``kl/SITE``, ``mean/SITE`` and ``square/SITE`` (of the posterior
means, per unit) and, where the KL splits, ``kl_per_unit/SITE``."""


def sums_of(loss: Tensor, model_trace: Trace, guide_trace: Trace) -> dict[str, Tensor]:
    """Sums over a step's images, without gradients.

    Args:
        loss: The objective's loss, summed over the images.
        model_trace: The model's trace.
        guide_trace: The guide's trace.

    Returns:
        By the names of ``Layout``, each 0-dim or (U,).
    """
    terms = elbo.terms_of(model_trace, guide_trace)
    latents = terms.latents.items()
    each = [(name, site.kl_per_unit) for name, site in latents]
    return {
        "loss": loss.detach(),
        **{f"reconstruction/{name}": value.sum() for name, value in terms.observed.items()},
        **{f"kl/{name}": site.kl.sum() for name, site in latents},
        **{f"mean/{name}": site.code.sum(0) for name, site in latents},
        **{f"square/{name}": site.code.square().sum(0) for name, site in latents},
        **{f"kl_per_unit/{name}": value.sum(0) for name, value in each if value is not None},
    }


def packed(sums: Mapping[str, Tensor]) -> tuple[Tensor, Layout]:
    """One row of sums, in their order, and its layout."""
    layout = {name: value.numel() for name, value in sums.items()}
    return torch.cat([value.reshape(-1) for value in sums.values()]), layout


def layout_of_one_site(latents: int, width: int) -> Layout:
    """The layout of rows in checkpoints from before layouts were kept in them.

    Args:
        latents: Units of the one latent site.
        width: Numbers in a row, with the step's own.
    """
    layout = {"loss": 1, "reconstruction/obs": 1, "kl/latent": 1}
    layout |= {"mean/latent": latents, "square/latent": latents}
    if width > sum(layout.values()) + len(_STEP):
        layout["kl_per_unit/latent"] = latents
    return layout


def total(layout: Layout, row: Tensor, figure: str) -> Tensor:
    """A figure's sum over sites; ``row`` is (..., numbers), the result (...)."""
    return torch.stack(list(_sites(layout, row, figure).values())).sum(0).squeeze(-1)


def _sites(layout: Layout, row: Tensor, figure: str) -> dict[str, Tensor]:
    """A figure of each site that has it, by the site's name."""
    parts = row[..., : sum(layout.values())].split(list(layout.values()), -1)
    values = zip(layout, parts, strict=True)
    named = ((name.partition("/"), value) for name, value in values)
    return {site: value for (name, _, site), value in named if name == figure}


class StepMetrics:
    """The rows of some steps: for each its sums, β, the gradient's norm and the learning rate.

    Args:
        rows: One of each step, as long as the layout and three.
        sizes: Each step's images.
        layout: Of the sums.
    """

    def __init__(self, rows: Sequence[Tensor], sizes: Sequence[int], layout: Layout) -> None:
        table = torch.stack(list(rows)).cpu()
        self.layout, self.sizes = layout, torch.tensor(sizes)
        self.sums, self.settings = table[:, : -len(_STEP)], table[:, -len(_STEP) :]

    def records(self, loss: bool) -> list[Figures]:
        """A record for each step.

        Args:
            loss: Whether reconstruction − kl is called ``objective`` and not ``elbo``.
        """
        return self._records(loss, self.sums, self.sizes, self.settings.tolist())

    def mean(self, loss: bool) -> Figures:
        """The steps' averages, each with the weight of its images, and the last step's β."""
        settings = self.settings[-1].tolist()
        weights = (self.sizes / self.sizes.sum()).to(self.settings)
        settings[1] = float(weights @ self.settings[:, 1])
        sums, sizes = self.sums.sum(0, keepdim=True), self.sizes.sum(0, keepdim=True)
        return self._records(loss, sums, sizes, [settings])[0]

    def _records(
        self, loss: bool, sums: Tensor, sizes: Tensor, settings: Sequence[Sequence[float]]
    ) -> list[Figures]:
        """The records of steps, or of groups of them."""
        layout, per_image = self.layout, sums / sizes[:, None]
        figures = {
            figure: _sites(layout, per_image, figure)
            for figure in ("reconstruction", "kl", "kl_per_unit", "mean", "square")
        }
        scalars = {
            figure: {name: value[:, 0].tolist() for name, value in figures[figure].items()}
            for figure in ("reconstruction", "kl")
        }
        active = {
            name: elbo.active_of_moments(
                torch.stack([mean, figures["square"][name]], -2), 1
            ).tolist()
            for name, mean in figures["mean"].items()
        }
        each = list(figures["kl_per_unit"].values())
        whole = len(each) == len(active)
        per_latent = torch.cat(each, -1).tolist() if whole else [None] * len(sums)
        units = {name: mean.shape[-1] for name, mean in figures["mean"].items()}
        records: list[Figures] = []
        for i, (beta, norm, lr) in enumerate(settings):
            reconstruction = {name: value[i] for name, value in scalars["reconstruction"].items()}
            kl = {name: value[i] for name, value in scalars["kl"].items()}
            both = sum(reconstruction.values()), sum(kl.values())
            records.append(
                {
                    "loss": float(per_image[i, 0]),
                    "beta": beta,
                    "elbo": None if loss else both[0] - both[1],
                    "objective": both[0] - both[1] if loss else None,
                    "reconstruction": both[0],
                    "kl": both[1],
                    "kl_per_latent": per_latent[i],
                    "active_units": sum(value[i] for value in active.values()),
                    "sites": {
                        **{name: {"reconstruction": v} for name, v in reconstruction.items()},
                        **{
                            name: {"kl": v, "units": units[name], "active_units": active[name][i]}
                            for name, v in kl.items()
                        },
                    },
                    "gradient_norm": norm,
                    "learning_rate": lr,
                }
            )
        return records
