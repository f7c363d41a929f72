"""Few labels, many images: model M2 of Kingma et al. (2014), summed over the unknown labels."""

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

import pyro_vae as pv


class M2(nn.Module):
    """p(y) p(z) p(x|y, z) with the guide q(y|x) q(z|x, y), whose q(y|x) is a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.vae = pv.VAE((1, 28, 28), 10, "bernoulli", pv.networks.MLP(128), covariates=10)
        layers = [nn.Dropout(), nn.Linear(784, 256), nn.ReLU(), nn.Dropout(), nn.Linear(256, 10)]
        self.classifier = nn.Sequential(nn.Flatten(), *layers)

    def model(self, x: Tensor, y: Tensor | None = None) -> None:
        """Images x (N, 1, 28, 28) with labels y in one-hot form (N, 10), None where unknown."""
        with pyro.plate("data", len(x), dim=-1):
            y = pyro.sample("label", dist.OneHotCategorical(logits=torch.zeros(10)), obs=y)
            z = pyro.sample("latent", self.vae.prior())
            pyro.sample("obs", self.vae.decode(z, covariates=y), obs=self.vae.observe(x))

    @pyro.infer.config_enumerate  # an unknown y is (10, 1, 10): every label, for all images
    def guide(self, x: Tensor, y: Tensor | None = None) -> None:
        """Arguments as for the model."""
        with pyro.plate("data", len(x), dim=-1):
            if y is None:
                y = pyro.sample("label", dist.OneHotCategorical(logits=self.classifier(x / 255)))
            pyro.sample("latent", self.vae.encode(x, covariates=y))

    def fit(self, x: Tensor, y: Tensor, images: Tensor, epochs: int, alpha: float = 10.0) -> None:
        """Train on x with labels y and on images without; alpha weighs the classifier's loss."""
        known, unknown = pyro.infer.Trace_ELBO(), pyro.infer.TraceEnum_ELBO(max_plate_nesting=1)
        optimiser = torch.optim.Adam(self.parameters(), lr=2e-3)
        for batch in (b for _ in range(epochs) for b in torch.randperm(len(images)).split(50)):
            few = known.differentiable_loss(self.model, self.guide, x, y) / len(images)
            many = unknown.differentiable_loss(self.model, self.guide, images[batch]) / len(batch)
            optimiser.zero_grad()
            (few + many + alpha * cross_entropy(self.classifier(x / 255), y)).backward()
            optimiser.step()


def main(epochs: int = 18, images: int | None = None) -> dict[str, float]:
    """Train on this many digits (None: all 4,500), of which 100 have labels."""
    torch.manual_seed(0)
    digits, m2 = pv.data.load("mnist-5k"), M2()
    x, y = digits.train[:images], one_hot(digits.train_labels[:images], 10).float()
    m2.fit(x[:100], y[:100], x[100:], epochs)
    right = m2.eval().classifier(digits.test / 255).argmax(1) == digits.test_labels
    return {"held-out accuracy with 100 labels": right.float().mean().item()}


if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name}: {value:.4g}")
