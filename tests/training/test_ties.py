"""Models whose parts share memory: saved, loaded, resumed and averaged, they stay what they are."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pyro_vae import VAE, InputError, fit, load, networks, posteriors, save
from pyro_vae.networks import Sizes
from pyro_vae.optimisers import make_optimiser
from pyro_vae.training import Stopped
from pyro_vae.training.checkpoints import Checkpoints
from pyro_vae.training.progress import Silent
from pyro_vae.training.weights import Averaged, put

from .stopping import StopAt

DIMS, WIDTH = 6, 6
Share = Callable[[nn.Module, Tensor], None]


def _as_parameter(view: Callable[[Tensor], Tensor]) -> Share:
    def share(decoder: nn.Module, weight: Tensor) -> None:
        decoder.shared = nn.Parameter(view(weight.detach()))

    return share


def _as_buffer(view: Callable[[Tensor], Tensor]) -> Share:
    return lambda decoder, weight: decoder.register_buffer("shared", view(weight))


def _one(decoder: nn.Module, weight: Tensor) -> None:
    decoder.shared = weight  # type: ignore[assignment]


SHARED: dict[str, Share] = {
    "one parameter": _one,
    "a view as a parameter": _as_parameter(lambda w: w),
    "a transposed parameter": _as_parameter(lambda w: w.t()),
    "rows of a parameter": _as_parameter(lambda w: w[1:4]),
    "every other column": _as_parameter(lambda w: w[:, ::2]),
    "a parameter as a buffer": _as_buffer(lambda w: w),
    "a view as a buffer": _as_buffer(lambda w: w.detach()),
    "a transposed buffer": _as_buffer(lambda w: w.detach().t()),
    "rows as a buffer": _as_buffer(lambda w: w.detach()[2:]),
    "one number everywhere": _as_buffer(lambda w: torch.full((1, 1), 0.3).expand(3, 4)),
    "a row everywhere": _as_buffer(lambda w: w.detach()[:1].expand(4, WIDTH)),
}
every_kind = pytest.mark.parametrize("kind", list(SHARED))


class Decoder(nn.Module):
    """Its output depends on all of what it shares."""

    def __init__(self, sizes: Sizes, share: Share, weight: Tensor) -> None:
        super().__init__()
        self.shared: Any
        self.layer = nn.Linear(sizes.latent_dim, sizes.grid_numbers)
        share(self, weight)

    def forward(self, z: Tensor) -> Tensor:
        places = torch.arange(self.shared.numel()).reshape(self.shared.shape)
        total = (self.shared * (1.0 + places).cos()).sum()
        out: Tensor = self.layer(z) * (1 + total)
        return out


def networks_of(kind: str) -> networks.Networks:
    def net(sizes: Sizes) -> tuple[nn.Module, nn.Module]:
        first = nn.Linear(DIMS, WIDTH)
        encoder = nn.Sequential(first, nn.Tanh(), nn.Linear(WIDTH, sizes.posterior_numbers))
        return encoder, Decoder(sizes, SHARED[kind], first.weight)

    return net


def made(kind: str) -> VAE:
    torch.manual_seed(1)
    return VAE((DIMS,), 2, "normal", networks_of(kind))


def memory(vae: VAE) -> dict[str, tuple[Any, ...]]:
    """Where each tensor lies, counted from its memory's first mention; an oracle of our own."""
    seen: dict[int, int] = {}
    found = {}
    for name, tensor in vae.state_dict(keep_vars=True).items():
        place = seen.setdefault(tensor.untyped_storage().data_ptr(), len(seen))
        found[name] = (
            place,
            tensor.storage_offset(),
            tensor.stride(),
            isinstance(tensor, nn.Parameter),
        )
    return found


def images() -> Tensor:
    return torch.rand(40, DIMS, generator=torch.Generator().manual_seed(2))


@torch.no_grad()
def outputs(vae: VAE) -> list[Tensor]:
    vae.eval()
    x = images()[:5]
    return [vae.encode(x).mean, vae.encode(x).stddev, vae.reconstruct(x), vae.prior().mean]


def assert_same(found: VAE, wanted: VAE) -> None:
    for ours, theirs in zip(outputs(found), outputs(wanted), strict=True):
        assert torch.equal(ours, theirs)
    ours, theirs = found.state_dict(), wanted.state_dict()
    assert ours.keys() == theirs.keys()
    for key in ours:
        assert torch.equal(ours[key], theirs[key]), key
    assert memory(found) == memory(wanted)
    assert [id(p) for p in found.parameters()] != [id(p) for p in wanted.parameters()]
    assert len(list(found.parameters())) == len(list(wanted.parameters()))


@every_kind
def test_saved_and_loaded(kind: str, tmp_path: Path) -> None:
    vae = made(kind)
    fit(vae, images(), epochs=2, batch_size=20, lr=0.05, out=tmp_path / "trained")
    assert_same(load(tmp_path / "trained", net=networks_of(kind)), vae)
    assert_same(load(save(vae, tmp_path / "saved"), net=networks_of(kind)), vae)


SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "average": {"average": 0.7},
    "keep best": {"keep_best": True, "validation": 0.25},
    "both": {"average": 0.7, "keep_best": True, "validation": 0.25},
}


@pytest.mark.parametrize(
    ("kind", "settings"),
    [(kind, "both") for kind in SHARED]
    + [("a transposed parameter", settings) for settings in SETTINGS if settings != "both"],
)
def test_resumed(kind: str, settings: str, tmp_path: Path) -> None:
    """A run that was cut short ends as one that was not, and what is on disk is that model."""
    options: dict[str, Any] = {"epochs": 3, "batch_size": 20, "lr": 0.05, **SETTINGS[settings]}
    whole, cut, again = made(kind), made(kind), made(kind)
    fit(whole, images(), **options)
    with pytest.raises(Stopped):
        fit(cut, images(), out=tmp_path, progress=StopAt(3), checkpoint=1, **options)
    assert Checkpoints(tmp_path).latest() is not None
    assert_same(load(tmp_path, net=networks_of(kind)), cut)
    fit(again, images(), out=tmp_path, resume=True, checkpoint=1, **options)
    assert_same(again, whole)
    assert_same(load(tmp_path, net=networks_of(kind)), whole)


def test_compiled_steps_train_a_transposed_weight_alike() -> None:
    """A graph's gradients lie in memory as it likes."""
    found = []
    for compiled in ("on", "off"):
        vae = made("a transposed parameter")
        history = fit(vae, images(), epochs=2, batch_size=20, lr=0.05, compile=compiled)
        refused = [message for message in history.warnings if "not compiled" in message]
        if refused and os.environ.get("ATEN_CPU_CAPABILITY") == "default":
            pytest.skip(refused[0])  # torch 2.8's compiler knows no such processor
        assert not refused
        found.append(outputs(vae))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


class Watched(Silent):
    """Weights after every step."""

    def __init__(self, vae: VAE) -> None:
        self.vae, self.weights = vae, list[dict[str, Tensor]]()

    def step(self, step: int) -> None:
        self.weights.append(copy.deepcopy({k: v.clone() for k, v in self.vae.state_dict().items()}))


@every_kind
def test_an_average_is_of_every_number_once(kind: str) -> None:
    """By hand, from the weights after each step: what is shared is averaged as all is."""
    vae, decay = made(kind), 0.7
    watched = Watched(vae)
    fit(vae, images(), epochs=3, batch_size=20, lr=0.05, average=decay, progress=watched)
    first, *later = watched.weights
    assert len(later) == 5
    for name, found in vae.state_dict().items():
        wanted = first[name].double()
        for weights in later:
            wanted = decay * wanted + (1 - decay) * weights[name].double()
        torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-7)
    moved = (later[-1]["encoder.0.weight"] - first["encoder.0.weight"]).abs().max()
    assert moved > 0.01


def test_ties_that_were_made_after_the_model(tmp_path: Path) -> None:
    """Stock networks know nothing of them: the folder does."""
    torch.manual_seed(1)
    vae = VAE((DIMS,), 2, "normal", networks.MLP(hidden=8, depth=2))
    encoder, decoder = vae.encoder, vae.decoder
    decoder[2].weight = encoder[3].weight  # type: ignore[index]
    decoder[4].weight = nn.Parameter(encoder[1].weight.detach().t())  # type: ignore[index]
    decoder[0].bias = nn.Parameter(encoder[1].bias.detach())  # type: ignore[index]
    options: dict[str, Any] = {"epochs": 2, "batch_size": 20, "lr": 0.05, "average": 0.5}
    options["init_from_data"] = False  # which would be one tensor more
    before = memory(vae)
    with pytest.raises(Stopped):
        fit(vae, images(), out=tmp_path, progress=StopAt(3), checkpoint=1, **options)
    (tmp_path / "config.json").unlink()
    unfinished = load(tmp_path)
    assert memory(unfinished) == before
    fit(vae, images(), out=tmp_path, overwrite=True, **options)
    again = load(tmp_path)
    assert memory(again) == before
    assert_same(again, vae)
    with torch.no_grad():
        again.encoder[1].weight.add_(1.0)  # type: ignore[index,operator,union-attr]
    assert torch.equal(again.decoder[4].weight, again.encoder[1].weight.t())  # type: ignore[index,operator,union-attr]
    # And it trains on as the one that was never saved.
    with torch.no_grad():
        again.encoder[1].weight.sub_(1.0)  # type: ignore[index,operator,union-attr]
        put(again, vae.state_dict())
    for model in (again, vae):
        fit(model, images(), epochs=1, batch_size=20, lr=0.05)
    assert_same(again, vae)


@pytest.mark.parametrize("shown", ["posterior", "module"])
def test_buffers_and_layers_in_two_places(shown: str, tmp_path: Path) -> None:
    if shown == "posterior":  # whose third step has the first one's order
        posterior = posteriors.InverseAutoregressive(4, hidden=9)
        vae = VAE((DIMS,), 3, "normal", networks.MLP(hidden=8), posterior=posterior)
        assert torch.equal(load(save(vae, tmp_path)).encoder[1].weight, vae.encoder[1].weight)  # type: ignore[index]
        return

    def net(sizes: Sizes) -> tuple[nn.Module, nn.Module]:
        middle = nn.Linear(8, 8)
        encoder = nn.Sequential(nn.Linear(DIMS, 8), middle, nn.Linear(8, sizes.posterior_numbers))
        return encoder, nn.Sequential(nn.Linear(2, 8), middle, nn.Linear(8, sizes.grid_numbers))

    vae = VAE((DIMS,), 2, "normal", net)
    again = load(save(vae, tmp_path), net=net)
    assert again.encoder[1] is again.decoder[1]  # type: ignore[index]
    assert_same(again, vae)


def test_weights_that_cannot_be_the_models_are_refused(tmp_path: Path) -> None:
    """As strictly as ever: names, shapes, and values where two are one."""
    free = VAE((DIMS,), 2, "normal", lambda sizes: _untied(sizes))
    save(free, tmp_path / "free")
    with pytest.raises(InputError, match=r"another model.*shares its memory"):
        load(tmp_path / "free", net=networks_of("one parameter"))


@pytest.mark.parametrize(
    "change",
    [
        lambda weights: weights.pop("decoder.shared"),
        lambda weights: weights.update(more=torch.zeros(1)),
        lambda weights: weights.update({"decoder.shared": torch.zeros(2, 2)}),
        lambda weights: weights.update({"decoder.shared": torch.arange(12.0).reshape(3, 4)}),
    ],
    ids=["one is missing", "one too many", "another shape", "two values where one is"],
)
def test_weights_of_another_kind_are_refused(change: Callable[[dict[str, Tensor]], object]) -> None:
    tied = made("one number everywhere")
    weights = dict(tied.state_dict())
    change(weights)
    with pytest.raises(RuntimeError):
        put(tied, weights)


@pytest.mark.parametrize(
    "ties", [[[{"names": ["nothing"]}]], [[{"names": []}]], 5, [[{"evil": 1}]]], ids=str
)
def test_ties_that_are_damaged_are_refused(ties: Any, tmp_path: Path) -> None:
    save(made("one number everywhere"), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["vae"]["ties"] = ties
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="damaged"):
        load(tmp_path, net=networks_of("one number everywhere"))


def _untied(sizes: Sizes) -> tuple[nn.Module, nn.Module]:
    encoder, decoder = networks_of("one parameter")(sizes)
    decoder.shared = nn.Parameter(torch.randn(WIDTH, DIMS))
    return encoder, decoder


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_models_arithmetic_comes_back(dtype: torch.dtype, tmp_path: Path) -> None:
    """Doubles that are loaded into floats are other weights."""
    torch.manual_seed(1)
    vae = VAE((DIMS,), 2, "normal", networks.MLP(hidden=8)).to(dtype).eval()
    again = load(save(vae, tmp_path))
    x, z = images()[:5].to(dtype), torch.randn(5, 2).to(dtype)
    with torch.no_grad():
        assert torch.equal(again.encode(x).mean, vae.encode(x).mean)
        assert torch.equal(again.decode(z).log_prob(x), vae.decode(z).log_prob(x))
    assert again.encode(x).mean.dtype == vae.encode(x).mean.dtype
    assert {p.dtype for p in again.parameters()} == {dtype}


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", "rmsprop"])
@every_kind
def test_optimisers_step_where_the_weights_lie(kind: str, name: str) -> None:
    """Fused forms go through memory linearly: of every other column they would train the others."""
    weight = torch.randn(WIDTH, DIMS, generator=torch.Generator().manual_seed(3))
    found = []
    for copied in (False, True):
        holder, base = nn.Module(), weight.clone()
        SHARED[kind](holder, nn.Parameter(base))
        shared: Any = holder.shared
        own = nn.Parameter(shared.detach().clone(memory_format=torch.contiguous_format))
        used = own if copied else shared
        if not used.requires_grad:
            return
        optimiser = make_optimiser(name, [used], 0.1, 0.0)
        for _ in range(3):
            places = torch.arange(used.numel()).reshape(used.shape)
            (used * places).square().sum().backward()
            optimiser.step()
            optimiser.zero_grad()
        found.append(used.detach().clone(memory_format=torch.contiguous_format))
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


def test_an_average_without_ties_is_torchs_own() -> None:
    model, peer = nn.Linear(3, 3), nn.Linear(3, 3)
    ours, theirs = (
        Averaged(model, 0.9),
        torch.optim.swa_utils.AveragedModel(
            model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9)
        ),
    )
    for _ in range(3):
        put(peer, {k: torch.randn_like(v) for k, v in peer.state_dict().items()})
        ours.update_parameters(peer)
        theirs.update_parameters(peer)
    for key, value in ours.state_dict().items():
        assert torch.equal(value, theirs.state_dict()[key])
