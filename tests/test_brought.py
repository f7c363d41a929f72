"""Networks, numbers and containers as people bring them: they work, or a line names what does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import pytest
import scipy.sparse
import torch
from pyro.infer import SVI, Trace_ELBO
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

import pyro_vae
from pyro_vae import VAE, InputError, diagnose, evaluate, fit, networks

SHAPE = (1, 4, 4)


def levels(count: int = 40) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, *SHAPE), generator=generator).to(torch.uint8)


def small(**options: Any) -> VAE:
    return VAE(SHAPE, 2, "bernoulli", networks.MLP(hidden=4), **options)


def normalised() -> VAE:
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(16, 4), nn.BatchNorm1d(4), nn.Linear(4, 4))
    decoder = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 16))
    return VAE(SHAPE, 2, "bernoulli", (encoder, decoder))


def test_a_last_batch_of_one_joins_the_one_before_it_under_batchnorm() -> None:
    vae = normalised()
    seen: list[int] = []
    layer: Any = vae.encoder.get_submodule("2")
    layer.register_forward_pre_hook(lambda module, x: seen.append(len(x[0])))
    history = fit(vae, levels(41), epochs=1, batch_size=20)
    assert len(history.steps) == 2
    assert {20, 21} <= set(seen)
    assert len(fit(small(), levels(41), epochs=1, batch_size=20).steps) == 3


@pytest.mark.parametrize(("images", "batch_size"), [(3, 1), (1, 128)])
def test_batchnorm_of_single_images_is_refused(images: int, batch_size: int) -> None:
    with pytest.raises(InputError, match=r"BatchNorm1d normalises .* or use LayerNorm"):
        fit(normalised(), levels(images), epochs=1, batch_size=batch_size)


@pytest.mark.parametrize("form", ["levels", "doubles", "of numpy"])
def test_a_model_in_double_precision_stays_so(form: str) -> None:
    doubles = levels().double() / 255
    x = {"levels": levels(), "doubles": doubles, "of numpy": doubles.numpy()}[form]
    vae = small().double()
    history = fit(vae, x, epochs=1, validation=0.2)
    assert evaluate(vae, x)["mse"] > 0
    assert diagnose(vae, x, history).images == 40
    assert {p.dtype for p in vae.parameters()} == {torch.float64}
    assert vae.reconstruct(x).shape == (40, *SHAPE)


@pytest.fixture
def doubles() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def test_the_default_dtype_may_be_double(doubles: None, tmp_path: Path) -> None:
    vae = small()
    history = fit(vae, levels(), epochs=1, validation=levels(5), out=tmp_path / "run")
    assert evaluate(vae, levels())["mse"] > 0
    assert diagnose(vae, levels(), history).images == 40
    assert next(pyro_vae.load(tmp_path / "run").parameters()).dtype == torch.float64


def test_columns_of_float64_are_taken() -> None:
    rng = np.random.default_rng(0)
    x = {"a": rng.normal(size=(20, 3)), "b": rng.normal(size=(20, 2)).astype("f4")}
    joint = VAE({"a": (3,), "b": (2,)}, 2, dict.fromkeys("ab", "real-normal"), networks.MLP(4))
    fit(joint, x, epochs=1)
    assert joint.reconstruct(x)["a"].shape == (20, 3)


class _Two(nn.Module):
    def __init__(self, catted: bool) -> None:
        super().__init__()
        self.mean, self.scale, self.catted = nn.Linear(16, 2), nn.Linear(16, 2), catted

    def forward(self, x: Tensor) -> Any:
        parts = self.mean(x.flatten(1)), self.scale(x.flatten(1))
        return torch.cat(parts, 1) if self.catted else parts


def test_an_encoder_of_two_tensors_is_refused_with_a_cure_that_works() -> None:
    with pytest.raises(InputError, match=r"one tensor .* a tuple; .*torch\.cat\(parts, 1\)"):
        fit(VAE(SHAPE, 2, "bernoulli", (_Two(False), nn.Linear(2, 16))), levels(), epochs=1)
    fit(VAE(SHAPE, 2, "bernoulli", (_Two(True), nn.Linear(2, 16))), levels(), epochs=1)


ODD = ("Sepal.Length", "type", "values", "a b", "größe", "0", "training", "x/y", "$", "forward")


def test_odd_names_of_columns(tmp_path: Path) -> None:
    x = {name: torch.randn(20, 1) for name in ODD}
    obs, shapes = dict.fromkeys(ODD, "real-normal"), dict.fromkeys(ODD, (1,))
    joint = VAE(shapes, 2, obs, networks.MLP(4))
    fit(joint, x, epochs=1, out=tmp_path / "run")
    again = pyro_vae.load(tmp_path / "run")
    assert evaluate(again, x)["elbo"] == evaluate(joint, x)["elbo"]


@pytest.mark.parametrize("name", ["", 0])
def test_names_that_are_none(name: Any) -> None:
    with pytest.raises(InputError, match=f"must be texts that are not empty, got {name!r}"):
        VAE({name: (1,)}, 2, {name: "real-normal"})


def test_numbers_of_numpy_count_as_pythons(tmp_path: Path) -> None:
    net = networks.MLP(hidden=np.int64(4), dropout=np.float32(0.1))
    vae = VAE(np.array(SHAPE), np.int64(2), "normal", net, covariates=np.int64(0))
    options = {"seed": np.int64(1), "lr": np.float32(1e-3), "beta": np.float64(0.5)}
    kept = {"validation": np.float32(0.2), "patience": np.int64(3), "out": tmp_path / "run"}
    fit(vae, levels(), epochs=np.int64(1), batch_size=np.int32(20), **options, **kept)
    assert pyro_vae.load(tmp_path / "run").data_shape == SHAPE
    assert evaluate(vae, levels(), iwae=np.int64(2))["iwae"]["k"] == 2


class _Items(Dataset[Any]):
    def __init__(self, *names: str) -> None:
        self.names = names

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {**{name: levels()[index] for name in self.names}, "labels": 0}


CONTAINERS: dict[str, Callable[[], Any]] = {
    "flipped": lambda: levels().numpy()[:, :, ::-1],
    "sparse": lambda: levels().flatten(1).float().to_sparse(),
    "sparse rows": lambda: scipy.sparse.csr_matrix(levels().flatten(1).numpy() / 255.0),
    "of a network": lambda: nn.Conv2d(1, 1, 1)(torch.rand(40, *SHAPE)).sigmoid(),
    "beside labels": lambda: (levels(), torch.zeros(40)),
    "beside labels of numpy": lambda: (levels().numpy(), np.zeros(40)),
    "pairs": lambda: [(image, 0) for image in levels()],
    "a loader": lambda: DataLoader(TensorDataset(levels(), torch.zeros(40)), batch_size=7),
    "a loader of a tensor": lambda: DataLoader(levels(), batch_size=7),
    "dictionaries": lambda: _Items("image"),
    "a loader of dictionaries": lambda: DataLoader(_Items("pixels"), batch_size=7),
    "a list of dictionaries": lambda: [_Items("image")[i] for i in range(40)],
    "a generator": lambda: (image for image in levels()),
    "true and false": lambda: levels() > 128,
}


@pytest.mark.parametrize("case", CONTAINERS)
def test_containers_hold_what_they_hold(case: str) -> None:
    x = CONTAINERS[case]()
    shape = (16,) if case.startswith("sparse") else SHAPE
    if case == "sparse":
        x = x / 255
    vae = VAE(shape, 2, "bernoulli", networks.MLP(hidden=4))
    history = fit(vae, x, epochs=2, batch_size=20)
    assert [record["images_per_second"] > 0 for record in history.steps] == [True] * 4
    assert evaluate(vae, CONTAINERS[case]() if shape == SHAPE else x)["images"] == 40


def test_a_data_set_whose_image_is_not_told_names_what_works() -> None:
    items = _Items("a", "b")
    with pytest.raises(InputError, match=r"mappings with 'a', 'b', 'labels'.*\[item\[NAME\] for"):
        fit(small(), items, epochs=1)
    fit(small(), [items[i]["a"] for i in range(40)], epochs=1)


@pytest.mark.parametrize(
    "given",
    [
        lambda x: x.double() / 255,
        lambda x: x.numpy().astype("f2") / 255,
        lambda x: x > 128,
        lambda x: (x > 128).long(),
    ],
    ids=["double", "half", "bool", "long"],
)
def test_methods_take_any_type_of_number(given: Callable[[Tensor], Any]) -> None:
    assert small().eval().reconstruct(given(levels(4))).shape == (4, *SHAPE)


def test_methods_take_what_fit_takes() -> None:
    vae, x = small().eval(), levels(4)
    wanted = vae.reconstruct(x)
    assert torch.equal(vae.reconstruct(x.numpy()), wanted)
    assert torch.equal(vae.reconstruct(x.numpy()[:, :, ::-1][:, :, ::-1]), wanted)
    assert torch.equal(vae.decode(np.zeros((3, 2))).mean, vae.decode(torch.zeros(3, 2)).mean)
    step = SVI(vae.model, vae.guide, pyro.optim.Adam({}), Trace_ELBO()).step(x.numpy())
    assert np.isfinite(step)


def test_two_fits_in_two_threads_are_those_of_one() -> None:
    def trained(vae: VAE) -> VAE:
        fit(vae, levels(), epochs=3, batch_size=5)
        return vae

    torch.manual_seed(0)
    first = small()
    others = [small(), small()]
    for other in others:
        other.load_state_dict(first.state_dict())
    threads = [threading.Thread(target=trained, args=(other,)) for other in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    trained(first)
    for other in others:
        for name, weight in first.named_parameters():
            assert torch.equal(other.get_parameter(name), weight)


def test_pyros_store_is_saved_loaded_and_gone_on_with(tmp_path: Path) -> None:
    def stepped(vae: VAE, lr: float) -> None:
        svi = SVI(vae.model, vae.guide, pyro.optim.Adam({"lr": lr}), Trace_ELBO())
        svi.step(levels())

    pyro.clear_param_store()
    before = small(name="stored")
    stepped(before, 0.01)
    pyro.get_param_store().save(tmp_path / "store.pt")
    weights = {name: value.clone() for name, value in before.state_dict().items()}
    pyro.clear_param_store()
    after = small(name="stored")
    pyro.get_param_store().load(tmp_path / "store.pt")
    stepped(after, 0.0)
    for name, value in after.state_dict().items():
        assert torch.equal(value, weights[name])
    stepped(after, 0.01)
    assert not torch.equal(after.encoder[1].weight, weights["encoder.1.weight"])
    with pytest.raises(InputError, match="another module's"):
        stepped(small(name="stored"), 0.01)
    pyro.clear_param_store()
