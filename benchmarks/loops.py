"""Training loops to compare with: the same networks, data, batch and optimiser everywhere.

Each is a function of (images, setting) that returns a function which trains for a pass over the
images and returns the pass' mean loss, in nats per image.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import pyro_vae as pv
from pyro_vae import networks
from pyro_vae.config import FitConfig
from pyro_vae.training import History
from pyro_vae.training.train_state import TrainState
from pyro_vae.training.trainer import Trainer

__all__ = ["LATENT", "Pass", "Setting", "bare", "ours", "pyro_svi", "pythae", "tutorial"]

LATENT, LR = 20, 1e-3
Pass = Callable[[], float]


class Setting(NamedTuple):
    """What all loops of a comparison have in common."""

    net: str = "mlp"
    batch: int = 128
    device: str = "cpu"


def pair(images: Tensor, setting: Setting) -> tuple[nn.Module, nn.Module]:
    """Encoder to 2 L numbers and decoder to a number for each pixel, from seed 0."""
    torch.manual_seed(0)
    shape = tuple(images.shape[1:])
    pixels = images[0].numel()
    sizes = networks.Sizes(shape, 2 * LATENT, LATENT, pixels, 0)
    encoder, decoder = networks.make(setting.net, sizes)
    return encoder.to(setting.device), decoder.to(setting.device)


def ours(
    images: Tensor,
    setting: Setting,
    compile: str = "off",
    precision: str = "float32",
    steps: int = 0,
) -> Pass:
    """This library's loop.

    Args:
        images: Levels, uint8 (N, C, H, W).
        setting: What all have in common.
        compile: As ``fit`` takes it.
        precision: As ``fit`` takes it.
        steps: For how long a run ``auto`` is to choose; by default for many.
    """
    vae = pv.VAE(tuple(images.shape[1:]), LATENT, "bernoulli", pair(images, setting))
    vae.to(setting.device)
    epochs = max(1, steps * setting.batch // len(images)) if steps else 1000
    settings = FitConfig.of(
        epochs=epochs, batch_size=setting.batch, lr=LR, compile=compile, precision=precision
    )
    data = images.to(setting.device)
    course = Trainer(TrainState(vae, settings, len(data)), History(kind="loss"))

    def train() -> float:
        return float(course.run_epoch(data, lambda: None)["loss"])

    return train


def bare(images: Tensor, setting: Setting, compiled: bool = False, half: bool = False) -> Pass:
    """PyTorch by hand: floats in memory, fused Adam; with both options, what there is to reach."""
    encoder, decoder = pair(images, setting)
    parameters = [*encoder.parameters(), *decoder.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=LR, fused=True)
    data = (images.float() / 255).to(setting.device)

    def arithmetic() -> AbstractContextManager[Any]:
        return torch.autocast(setting.device, torch.bfloat16) if half else nullcontext()

    def loss_of(x: Tensor) -> Tensor:
        with arithmetic():
            mean, log_variance = encoder(x).float().chunk(2, -1)
        z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        with arithmetic():
            logits = decoder(z).float()
        entropy = F.binary_cross_entropy_with_logits(logits, x.flatten(1), reduction="sum")
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum()
        return (entropy + kl) / len(x)

    run = torch.compile(loss_of) if compiled else loss_of

    def train() -> float:
        losses = []
        for index in torch.randperm(len(data), device=data.device).split(setting.batch):
            loss = run(data[index])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.detach())
        return float(torch.stack(losses).mean())

    return train


def tutorial(images: Tensor, setting: Setting) -> Pass:
    """As tutorials have it: a data set of single images, a DataLoader, plain Adam."""
    from torch.utils.data import DataLoader, Dataset
    from torchvision.transforms.functional import to_tensor

    pictures = images.movedim(1, -1).numpy()

    class Pictures(Dataset[Tensor]):
        def __len__(self) -> int:
            return len(pictures)

        def __getitem__(self, index: int) -> Tensor:
            picture: Tensor = to_tensor(pictures[index])
            return picture

    encoder, decoder = pair(images, setting)
    optimiser = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=LR)
    loader = DataLoader(Pictures(), setting.batch, shuffle=True)

    def train() -> float:
        total = 0.0
        for x in loader:
            x = x.to(setting.device)
            mean, log_variance = encoder(x).chunk(2, -1)
            z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
            pixels = torch.sigmoid(decoder(z))
            entropy = F.binary_cross_entropy(pixels, x.flatten(1), reduction="sum")
            kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum()
            loss = (entropy + kl) / len(x)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total += loss.item() * len(x)
        return total / len(images)

    return train


def pyro_svi(images: Tensor, setting: Setting) -> Pass:
    """As Pyro's documentation trains a VAE: SVI on Trace_ELBO, a DataLoader of floats."""
    from torch.utils.data import DataLoader, TensorDataset

    encoder, decoder = pair(images, setting)
    data = images.float() / 255
    loader = DataLoader(TensorDataset(data), setting.batch, shuffle=True)

    def model(x: Tensor) -> None:
        pyro.module("bench-decoder", decoder)
        with pyro.plate("data", len(x)):
            zeros = x.new_zeros(len(x), LATENT)
            z = pyro.sample("z", dist.Normal(zeros, torch.ones_like(zeros)).to_event(1))
            likelihood = dist.Bernoulli(torch.sigmoid(decoder(z)), validate_args=False)
            pyro.sample("x", likelihood.to_event(1), obs=x.flatten(1))

    def guide(x: Tensor) -> None:
        pyro.module("bench-encoder", encoder)
        with pyro.plate("data", len(x)):
            mean, log_variance = encoder(x).chunk(2, -1)
            pyro.sample("z", dist.Normal(mean, (0.5 * log_variance).exp()).to_event(1))

    svi = pyro.infer.SVI(model, guide, pyro.optim.Adam({"lr": LR}), pyro.infer.Trace_ELBO())
    # Pyro's losses are sums over the batch; Adam's steps do not depend on that.

    def train() -> float:
        return sum(svi.step(x.to(setting.device)) for (x,) in loader) / len(images)

    return train


def pythae(images: Tensor, setting: Setting) -> Pass:
    """pythae's trainer (extra ``benchmark``) on its VAE with these networks."""
    import tempfile

    from pythae.data.datasets import BaseDataset
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    ours_encoder, ours_decoder = pair(images, setting)
    shape = tuple(images.shape[1:])

    class Encoder(BaseEncoder):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.net = ours_encoder

        def forward(self, x: Tensor) -> Any:
            mean, log_variance = self.net(x).chunk(2, -1)
            return ModelOutput(embedding=mean, log_covariance=log_variance)

    class Decoder(BaseDecoder):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.net = ours_decoder

        def forward(self, z: Tensor) -> Any:
            pixels = torch.sigmoid(self.net(z)).reshape(-1, *shape)
            return ModelOutput(reconstruction=pixels)

    config = VAEConfig(input_dim=shape, latent_dim=LATENT, reconstruction_loss="bce")
    model = VAE(config, encoder=Encoder(), decoder=Decoder())
    settings = BaseTrainerConfig(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=setting.batch,
        learning_rate=LR,
        optimizer_cls="Adam",
        no_cuda=setting.device == "cpu",
    )
    data = images.float() / 255
    trainer = BaseTrainer(
        model, BaseDataset(data, torch.zeros(len(data))), training_config=settings
    )
    trainer.prepare_training()

    def train() -> float:
        model.train()
        return float(trainer.train_step(epoch=1))

    train.model = model  # type: ignore[attr-defined]
    return train
