"""Every component comes back from a run's folder with all its fields.

What is tried is made from the registries and the dataclasses' fields: a new component or a new
field is tried by itself, and one that no value is known for fails under its name.
"""

from __future__ import annotations

import inspect
import json
import math
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pyro_vae import (
    VAE,
    Head,
    InputError,
    Param,
    fit,
    load,
    networks,
    objectives,
    observations,
    posteriors,
    priors,
    save,
    schedules,
)
from pyro_vae.config import FitConfig
from pyro_vae.data.levels import LEVELS
from pyro_vae.heads import SCOPES
from pyro_vae.heads.param import ROLES, SOURCES
from pyro_vae.links import NAMES as LINKS
from pyro_vae.objectives.parsing import _TYPES as OBJECTIVES
from pyro_vae.training.runs import read_config

REGISTRIES = {"prior": priors.PRIORS, "posterior": posteriors.POSTERIORS, "net": networks.NETWORKS}
COMPONENTS = [(part, name) for part, table in REGISTRIES.items() for name in table]
SHAPE = (1, 8, 8)


def away(name: str, default: Any) -> Any:
    """A value that is not the default, of its type."""
    if isinstance(default, bool):
        return not default
    if isinstance(default, int):
        return default + 1
    if isinstance(default, float):
        return default + 0.25
    pytest.fail(f"no value of {name} is known but its default, {default!r}")


def component_away(part: str, name: str) -> Any:
    """A component with every field away from its default."""
    kind = REGISTRIES[part][name]
    return kind(**{f.name: away(f"{part} {name}.{f.name}", f.default) for f in fields(kind)})


def jittered(vae: VAE) -> VAE:
    """A model whose weights are none that construction gives, in evaluation mode."""
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return vae.eval()


def made_with(part: str, component: Any) -> VAE:
    """A small model with a component; with two latents where networks want several."""
    rest = {"net": networks.MLP(hidden=8), part: component}
    try:
        return jittered(VAE(SHAPE, 3, "normal", **rest))
    except InputError:
        return jittered(VAE(SHAPE, (2, 3), "normal", **rest))


def numbers_of(p: Any) -> list[Tensor]:
    """Tensors that a distribution is made of, wherever they are inside."""
    found = []
    for value in vars(p).values():
        if isinstance(value, Tensor):
            found.append(value)
        elif hasattr(value, "log_prob"):
            found += numbers_of(value)
    return found


@torch.no_grad()
def outputs(vae: VAE) -> list[Tensor]:
    """What the model makes of fixed images and latents, drawn with fixed noise."""
    torch.manual_seed(4)
    x = torch.rand(3, *vae.data_shape)
    z = torch.randn(3, vae.latent_dim)
    q = vae.encode(x)
    drawn = q.rsample()
    made = numbers_of(vae.decode(z))
    assert made
    return [drawn, q.log_prob(drawn), vae.prior().log_prob(z), vae.prior().sample((2,)), *made]


def assert_same(found: VAE, wanted: VAE) -> None:
    for ours, theirs in zip(outputs(found), outputs(wanted), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(("part", "name"), COMPONENTS)
def test_a_component_comes_back_with_every_field(part: str, name: str, tmp_path: Path) -> None:
    component = component_away(part, name)
    vae = made_with(part, component)
    again = load(save(vae, tmp_path))
    found = read_config(tmp_path)["vae"]
    said = found["net"] if part == "net" else found["sites"][-2][part]
    assert set(said) == {"name", *(f.name for f in fields(component))}
    assert said["name"] == name
    assert {f.name: getattr(component, f.name) for f in fields(component)} == {
        key: value for key, value in said.items() if key != "name"
    }
    attribute = {"net": "net"}.get(part, f"{part}_spec")
    assert getattr(again, attribute) == getattr(vae, attribute) == said
    assert_same(again, vae)


@pytest.mark.parametrize(("part", "name"), COMPONENTS)
def test_what_earlier_runs_wrote_is_read(part: str, name: str, tmp_path: Path) -> None:
    """Texts, of priors and posteriors: ``name`` and ``name:N`` for the first field."""
    kind = REGISTRIES[part][name]
    first = [f.name for f in fields(kind)][:1]
    component = kind(**{f: away(f, getattr(kind(), f)) for f in first})
    vae = made_with(part, component)
    save(vae, tmp_path)
    said = {"prior": "standard-normal", "posterior": "diagonal"}
    if part != "net":  # networks were described by all their fields
        said[part] = ":".join([name, *(str(getattr(component, f)) for f in first)])
    head = {"name": "normal", "levels": "dequantised", "interval": [0, 1], "scaled": False}
    dims = list(vae.latent_dims) if vae.lower else vae.latent_dim
    sizes = {"data_shape": list(SHAPE), "latent_dim": dims, "net": vae.net}
    former = {"format": 1, "vae": {**sizes, "obs": {**head, "parameters": {}}, **said}}
    (tmp_path / "config.json").write_text(json.dumps(former))
    assert_same(load(tmp_path), vae)


def test_numbers_of_numpy_and_torch_come_back_as_numbers(tmp_path: Path) -> None:
    net = networks.MLP(hidden=8, dropout=np.float32(0.25))
    posterior = posteriors.Coupling(np.int64(2), torch.tensor(9))  # type: ignore[arg-type]
    vae = jittered(VAE(SHAPE, 3, "normal", net, posterior=posterior))
    again = load(save(vae, tmp_path))
    assert again.posterior_spec == {"name": "coupling", "steps": 2, "hidden": 9}
    assert_same(again, vae)


@dataclass(frozen=True)
class Planted:
    """A prior that joins the registry."""

    scale: float = 1.0
    deep: bool = False

    def __call__(self, latent_dim: int, data_shape: tuple[int, ...]) -> nn.Module:
        return priors.DiagonalNormal()(latent_dim, data_shape)


@dataclass(frozen=True)
class Unknown(Planted):
    """One with a field that nothing is known of."""

    weird: object = object()


def test_a_new_component_is_tried_by_itself(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(priors.PRIORS, "planted", Planted)
    assert component_away("prior", "planted") == Planted(1.25, True)
    test_a_component_comes_back_with_every_field("prior", "planted", tmp_path)
    monkeypatch.setitem(priors.PRIORS, "unknown", Unknown)
    with pytest.raises(pytest.fail.Exception, match=r"prior unknown\.weird"):
        component_away("prior", "unknown")
    assert priors.spec(Unknown()) is None  # never a description that forgets a field


class Wider(networks.MLP):
    """A network of one's own that fits MLP's weights, and is none."""

    def __call__(self, sizes: networks.Sizes) -> tuple[nn.Module, nn.Module]:
        encoder, decoder = super().__call__(sizes)
        encoder[2] = nn.Tanh()  # type: ignore[index]
        return encoder, decoder


def test_a_subclass_is_ones_own(tmp_path: Path) -> None:
    vae = jittered(VAE(SHAPE, 3, "normal", Wider(hidden=8)))
    save(vae, tmp_path)
    with pytest.raises(InputError, match="net of your own: pass net="):
        load(tmp_path)
    assert_same(load(tmp_path, net=Wider(hidden=8)), vae)


# --- heads ---

PLAIN: dict[str, list[Any]] = {
    "levels": list(LEVELS),
    "kind": ["density", "mass", "loss"],
    "interval": [(-1.0, 1.0), (0.0, 255.0)],
    "scaled": [True, False],
}
"""Values of a head's fields that are plain data."""
FUNCTIONS = {"family", "parameters", "display", "parameter"}
PARAMETER: dict[str, list[Any]] = {
    "scope": [*SCOPES, 0.5],
    "shape": [(2,), ()],
    "link": list(LINKS),
    "floor": [0.125],
    "source": list(SOURCES),
    "features": [3],
    "role": list(ROLES),
}
"""Values of a parameter's fields."""
STOCK = list(observations.TABLE)


def there_and_back(head: Head) -> Head:
    said = observations.spec(head)
    assert said is not None, head.title
    return observations.read(json.loads(json.dumps(said)))


def test_no_field_of_a_head_is_forgotten_here() -> None:
    assert set(PLAIN) | FUNCTIONS | {"name", "changes"} == {f.name for f in fields(Head)}
    assert set(PARAMETER) == {f.name for f in fields(Param)}
    assert all(f.default is None for f in fields(Param))
    assert all(f.default is not MISSING for f in fields(Head) if f.name in PLAIN)


@pytest.mark.parametrize("name", STOCK)
def test_a_heads_description_holds_every_field(name: str) -> None:
    stock = observations.get(name)
    tried = 0
    for field, values in PLAIN.items():
        for value in values:
            if field == "interval" and stock.levels != "dequantised":
                continue
            try:
                stock.replace(interval=value if field == "interval" else None)
            except InputError:  # of those that live on [0, 1]
                continue
            changed = replace(stock, **{field: value})
            assert there_and_back(changed) == changed, (field, value)
            assert getattr(there_and_back(changed), field) == value
            tried += 1
    for parameter, _ in stock.parameters:
        for field, values in PARAMETER.items():
            for value in values:
                changed = stock.replace(**{parameter: Param(**{field: value})})
                assert there_and_back(changed) == changed, (parameter, field, value)
                assert getattr(dict(there_and_back(changed).parameters)[parameter], field) == value
                tried += 1
        everything = Param(**{field: values[0] for field, values in PARAMETER.items()})
        changed = stock.replace(**{parameter: everything})
        assert dict(there_and_back(changed).changes)[parameter] == everything
    assert tried > 15


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")  # all numbers are fixed
@pytest.mark.parametrize("name", STOCK)
def test_a_head_comes_back_from_a_folder(name: str, tmp_path: Path) -> None:
    """Every value of every parameter's fields that the family takes, each in a model of its own."""
    stock, built = observations.get(name), 0
    for parameter, _ in stock.parameters:
        for field, values in PARAMETER.items():
            head = stock.replace(**{parameter: Param(**{field: values[-1]})})
            try:
                vae = jittered(VAE((4,), 2, head, networks.MLP(hidden=3)))
                outputs(vae)
            except (InputError, RuntimeError):  # of shapes that do not go with the others'
                continue
            again = load(save(vae, tmp_path))
            assert again.obs == vae.obs == head
            assert_same(again, vae)
            built += 1
    assert built >= 2


STOCK = observations.get("normal")


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(replace(observations.get("laplace"), name="normal"), id="another's name"),
        pytest.param(replace(STOCK, display=lambda p: p.sample()), id="another view"),
        pytest.param(replace(STOCK, name=None), id="no name"),
        pytest.param(replace(STOCK, name="nobody's"), id="nobody's name"),
        pytest.param(STOCK.replace(loc=Param(link=torch.sigmoid)), id="another link"),
    ],
)
def test_a_head_that_only_bears_a_stock_name_is_ones_own(head: Head, tmp_path: Path) -> None:
    """Its functions are no plain data: loading the table's in their place would say nothing."""
    save(VAE((4,), 2, head, networks.MLP(hidden=3)), tmp_path)
    with pytest.raises(InputError, match="obs of your own: pass obs="):
        load(tmp_path)
    assert load(tmp_path, obs=head).obs == head


# --- schedules and objectives, which are kept as the texts that say all of them ---


def shapes_away() -> list[schedules.Schedule]:
    """Every shape with every field away from its default, as far as it has them."""
    given: dict[str, Any] = {"start": 0.125, "end": 2.75, "ratio": 1 / 3}
    lengths = [schedules.Length(1234567.0), schedules.Length(math.pi, "epochs")]
    assert {f.name for f in fields(schedules.Schedule)} == {"shape", "length", *given}
    assert {f.name for f in fields(schedules.Length)} == {"amount", "unit"}
    found = []
    for shape in schedules.SHAPES:
        for length in lengths:
            options = {"shape": shape, "length": length, **given}
            for reduced in ((), ("ratio",), ("ratio", "length", "start")):
                kept = {key: value for key, value in options.items() if key not in reduced}
                if "start" not in kept:
                    kept["start"] = kept["end"]
                try:
                    found.append(schedules.Schedule(**kept))
                except ValueError:
                    continue
                break
            else:
                pytest.fail(f"no schedule of shape {shape} could be made")
    return found


def test_schedules_come_back() -> None:
    tried = shapes_away()
    assert {schedule.shape for schedule in tried} == set(schedules.SHAPES)
    assert any(schedule.ratio == 1 / 3 for schedule in tried)
    for schedule in tried:
        said = json.loads(json.dumps(FitConfig.of(beta=schedule).to_dict()))
        assert FitConfig.of(**said).schedule() == schedule


@pytest.mark.parametrize("name", list(OBJECTIVES))
def test_objectives_come_back(name: str) -> None:
    kind: Any = OBJECTIVES[name][0]
    names = [key for key in inspect.signature(kind).parameters if key != "max_plate_nesting"]
    values = {"num_particles": 7, "alpha": 1 / 3, "nats": 1 / 7, "capacity": 2 / 3, "gamma": 77.7}
    missing = [key for key in names if key not in values]
    assert not missing, f"no value of {name}'s {missing} is known"
    objective = kind(**{key: values[key] for key in names})
    said = json.loads(json.dumps(FitConfig.of(elbo=str(objective)).to_dict()))
    again = FitConfig.of(**said).objective()
    assert type(again) is kind
    assert {key: getattr(again, key) for key in names} == {key: values[key] for key in names}
    assert objectives.parse(str(again)).spec == objective.spec


# --- what else a configuration holds ---


def test_what_is_no_plain_data_is_refused_before_training(tmp_path: Path) -> None:
    vae = VAE((4,), 2, "real-normal", networks.MLP(hidden=3))
    x = torch.randn(8, 4)
    with pytest.raises(InputError, match="data must be plain data"):
        fit(vae, x, epochs=1, out=tmp_path / "run", data={"made by": object()})
    assert not (tmp_path / "run").exists()
    fit(vae, x, epochs=1, lr=np.float32(0.25), out=tmp_path / "run")
    assert read_config(tmp_path / "run")["fit"]["lr"] == 0.25
