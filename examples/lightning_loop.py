"""A Lightning training loop around a VAE's model and guide (``pip install lightning``)."""

from __future__ import annotations

import lightning
import torch
from pyro.infer import Trace_ELBO
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

import pyro_vae as pv


class LightningVAE(lightning.LightningModule):
    """A VAE as Lightning wants it: a loss for each batch, and an optimiser."""

    def __init__(self, latent_dim: int = 20, lr: float = 1e-3) -> None:
        super().__init__()
        self.vae, self.lr = pv.VAE((1, 28, 28), latent_dim, obs="normal-learned-sigma"), lr

    def loss(self, x: Tensor) -> Tensor:
        """The negative ELBO in nats per image; Pyro's is summed over the batch."""
        return Trace_ELBO().differentiable_loss(self.vae.model, self.vae.guide, x) / len(x)

    def training_step(self, batch: list[Tensor], index: int) -> Tensor:
        """The loss whose gradient Lightning takes."""
        return self.loss(batch[0])

    def test_step(self, batch: list[Tensor], index: int) -> None:
        """Log the held-out ELBO, averaged over batches by Lightning."""
        self.log("elbo", -self.loss(batch[0]), batch_size=len(batch[0]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimiser of every weight, heads' own (as σ) included."""
        return torch.optim.Adam(self.vae.parameters(), lr=self.lr)


def main(epochs: int = 20, images: int | None = None) -> dict[str, float]:
    """Train on this many digits (None: all 4,500) and score the 500 held-out ones."""
    lightning.seed_everything(0, verbose=False)
    digits = pv.data.load("mnist-5k")
    train = DataLoader(TensorDataset(digits.train[:images]), batch_size=128, shuffle=True)
    held_out = DataLoader(TensorDataset(digits.test), batch_size=500)
    trainer = lightning.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
    )
    module = LightningVAE()
    trainer.fit(module, train)
    (figures,) = trainer.test(module, held_out, verbose=False)
    return {"held-out ELBO in nats per image": figures["elbo"]}


if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name}: {value:.4g}")
