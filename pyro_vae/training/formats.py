"""What config.json says of a model, format by format: read in any, written in the last one.

Format 3 is a list of sites, beside what they share::

    {"sites": [{"site": "latent", "dim": 20, "prior": {...}, "posterior": {...}},
               {"site": "obs", "shape": [1, 28, 28], "head": {...}}],
     "net": {...}, "covariates": 0}

A hierarchy's latent sites are ``latent.1`` to ``latent.L``, from the data up; several observed ones
``obs.NAME``. A part that is null is the user's own. ``seen``, which is null, is there where the
encoder sees what a function of the user's makes of a site. ``ties``, where there are any, says
which weights share memory. Format 1 had one observation. An observed site of the user's own has
under ``floor`` those of its parameters per dimension that have not today's: until format 2 it was
0.001, for all that said none.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from pyro_vae import observations, posteriors, priors
from pyro_vae.data import levels as data_levels
from pyro_vae.errors import InputError, shown
from pyro_vae.heads import Head, Param
from pyro_vae.observed import head_of
from pyro_vae.several import Part
from pyro_vae.training import weights
from pyro_vae.types import JSON, Fields
from pyro_vae.vae import VAE

__all__: list[str] = []

FORMAT = 3
_FLOOR = 1e-3
"""Of parameters per dimension, where nobody said one, until format 2."""


def _is_part(value: object) -> bool:
    return value is None or (isinstance(value, Mapping) and isinstance(value.get("name"), str))


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _is_shape(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(n and _is_count(n) for n in value)


_Keys = Mapping[str, Callable[[object], bool]]
_LATENT: _Keys = {
    "site": lambda value: isinstance(value, str),
    "dim": lambda value: value != 0 and _is_count(value),
    "prior": _is_part,
    "posterior": _is_part,
}
_OBSERVED: _Keys = {
    "site": _LATENT["site"],
    "shape": _is_shape,
    "head": _is_part,
    "seen": lambda value: value is None,
    "floor": lambda value: isinstance(value, float | Mapping),
}
_SHARED: _Keys = {
    "sites": lambda value: isinstance(value, list),
    "net": _is_part,
    "covariates": _is_count,
    "ties": lambda value: isinstance(value, list),
}
_OPTIONAL = ("ties", "seen", "floor")
_FORMAT_1: _Keys = {
    **{key: _SHARED[key] for key in ("net", "covariates", "ties")},
    "data_shape": _is_shape,
    "latent_dim": lambda value: isinstance(value, int | list),
    "obs": _is_part,
    "prior": lambda value: isinstance(value, str) or _is_part(value),
    "posterior": lambda value: isinstance(value, str) or _is_part(value),
}
_OPTIONAL_1 = (*_OPTIONAL, "prior", "posterior", "covariates")


def described(vae: VAE) -> JSON:
    """A model as plain data, from which :func:`arguments` makes those of an equal one."""
    alone = len(vae.latent_dims) == 1
    p, q = (
        part if isinstance(part, tuple) else (part,)
        for part in (vae.prior_spec, vae.posterior_spec)
    )
    sites: list[dict[str, Any]] = [
        {
            "site": "latent" if alone else f"latent.{level}",
            "dim": dim,
            "prior": prior,
            "posterior": posterior,
        }
        for level, (dim, prior, posterior) in enumerate(zip(vae.latent_dims, p, q, strict=True), 1)
    ]
    parts = {f"obs.{name}": part for name, part in vae.observed.parts.items()} if vae.joint else {}
    for site, part in (parts or {"obs": vae.observed}).items():
        said = {"shape": list(part.shape), "head": observations.spec(part.head)}
        seen = {} if part.view is None else {"seen": None}
        own = _floors(part.head, _FLOOR) if said["head"] is None else []
        floor = {"floor": dict.fromkeys(own, _FLOOR)} if own else {}
        sites.append({"site": site, **said, **seen, **floor})
    found = {"sites": sites, "net": vae.net, "covariates": vae.covariates}
    shared = weights.ties(vae)
    return {**found, "ties": shared} if shared else found


def arguments(spec: Fields, **own: object) -> JSON:
    """What :class:`~pyro_vae.vae.VAE` is called with.

    Args:
        spec: What :func:`described` gave, or :func:`upgraded` made of a former format's.
        **own: Parts of the user's own, in place of those described; None for none.

    Returns:
        All but its name; None for a part that has to be the user's own and is not given.

    Raises:
        InputError: If there is no head of a name, or it has no such field.
        KeyError: If a head's description lacks a part.
        TypeError: If it is none.
    """
    latent = [site for site in spec["sites"] if _is_latent(site)]
    observed = [site for site in spec["sites"] if not _is_latent(site)]
    dims = tuple(site["dim"] for site in latent)
    shape, obs = _observations(observed, own.pop("obs", None))
    return {
        "data_shape": shape,
        "latent_dim": dims if len(dims) > 1 else dims[0],
        "obs": obs,
        "net": spec["net"],
        **{part: _of_each(latent, part) for part in ("prior", "posterior")},
        "covariates": spec["covariates"],
        **{part: given for part, given in own.items() if given is not None},
    }


def _of_each(latent: Sequence[Fields], part: str) -> object:
    """The one of one latent, or those of all; None where one is the user's own."""
    found = [site[part] for site in latent]
    return None if None in found else found if len(found) > 1 else found[0]


def _observations(sites: Sequence[Fields], own: object) -> tuple[object, object]:
    """Shapes and heads: of one observation, or mappings; no heads where one is lacking."""
    if sites[0]["site"] == "obs":
        (site,) = sites
        read = own is None and site["head"] is not None
        obs = observations.read(site["head"]) if read else own
        return tuple(site["shape"]), _floored(obs, site)
    if own is not None and not isinstance(own, Mapping):
        own = dict.fromkeys((_name(site) for site in sites), own)
    heads: dict[str, Any] = {**(own or {})}
    shapes: dict[str, Any] = {}
    for site in sites:
        name = _name(site)
        # What the encoder sees of it is a function of the user's, too, if it is named at all.
        if name not in heads and site["head"] is not None and "seen" not in site:
            heads[name] = observations.read(site["head"])
        shapes[name] = tuple(site["shape"])
        if isinstance(heads.get(name), Part):
            part = heads.pop(name)
            shapes[name] = part._replace(obs=_floored(part.obs, site))
        elif name not in heads or "seen" in site:
            return shapes, None
        else:
            heads[name] = _floored(heads[name], site)
    return shapes, heads


def _floored(obs: Any, site: Fields) -> Any:
    """An observation with the floor that it was trained with."""
    if obs is None or "floor" not in site:
        return obs
    head, floor = head_of(obs), site["floor"]
    former = _floors(head, None)
    floors = floor if isinstance(floor, Mapping) else dict.fromkeys(former, floor)
    changes: JSON = {name: Param(floor=floors[name]) for name in former if name in floors}
    return head.replace(**changes) if changes else obs


def _floors(head: Head, floor: float | None) -> list[str]:
    """Its parameters per dimension of pixels that have such a floor."""
    pixels = data_levels.get(head.levels).eight_bit
    own = [name for name, p in head.parameters if p.scope == "dimension" and p.floor == floor]
    return own if pixels else []


def _name(site: Fields) -> str:
    return str(site["site"]).removeprefix("obs.")


def upgraded(config: object, name: str | Path) -> JSON:
    """A configuration in the last format, whose model's description has all its parts.

    Args:
        config: What was read, of any format; it stays as it is.
        name: Where it was read, for messages.

    Raises:
        InputError: If it is no configuration, of a newer format, or damaged.
    """
    found = config.get("format") if isinstance(config, Mapping) else None
    if not isinstance(config, Mapping) or type(found) is not int or found < 1:
        raise InputError(f"{name} is no configuration of a run")
    if found > FORMAT:
        raise InputError(
            f"{name} has format {shown(found)}, this version reads up to {FORMAT}: upgrade pyro_vae"
        )
    spec = config.get("vae")
    try:
        if not isinstance(spec, Mapping):
            raise ValueError("it has no vae")
        spec = _of_format_1(spec) if found == 1 else spec
        _check(spec)
        spec = _of_format_2(spec) if found < FORMAT else spec
    except ValueError as error:
        raise InputError(f"{name} is damaged: {error}") from None
    for part in ("fit", "options"):
        given = config.get(part)
        if found < FORMAT and isinstance(given, Mapping):  # which there was no word for
            config = {**config, part: {**given, "scale_lr": False}}
    return {**config, "format": FORMAT, "vae": spec}


def _of_format_1(spec: Fields) -> JSON:
    """One observation; priors and posteriors were texts, and not named before they were several."""
    _check_keys(spec, _FORMAT_1, "vae", _OPTIONAL_1)
    spec = {"prior": "standard-normal", "posterior": "diagonal", "covariates": 0, **spec}
    prior, posterior = spec["prior"], spec["posterior"]
    prior = priors.spec(prior) if isinstance(prior, str) else prior
    posterior = posteriors.spec(posterior) if isinstance(posterior, str) else posterior
    dims = spec["latent_dim"]
    named = {"latent": dims}
    if isinstance(dims, list):
        named = {f"latent.{level}": dim for level, dim in enumerate(dims, 1)}
    sites: list[dict[str, Any]] = [
        {"site": site, "dim": dim, "prior": {"name": "diagonal"}, "posterior": posterior}
        for site, dim in named.items()
    ]
    if sites:
        sites[-1]["prior"] = prior
    sites.append({"site": "obs", "shape": spec["data_shape"], "head": spec["obs"]})
    return {"sites": sites, **{key: spec[key] for key in _SHARED if key in spec}}


def _of_format_2(spec: Fields) -> JSON:
    """Parameters per dimension had another floor where nobody said one."""
    sites = [site if _is_latent(site) else {**site, "floor": _FLOOR} for site in spec["sites"]]
    return {**spec, "sites": sites}


def _check(spec: Fields) -> None:
    """Make sure that a description has all its parts, and no other.

    Raises:
        ValueError: If it has not; it says where.
    """
    _check_keys(spec, _SHARED, "vae")
    for number, site in enumerate(spec["sites"], 1):
        if not isinstance(site, Mapping) or not isinstance(site.get("site"), str):
            raise ValueError(f"site {number} has no name")
        where = f"site {shown(site['site'])}"
        _check_keys(site, _LATENT if _is_latent(site) else _OBSERVED, where)
    _check_names([site["site"] for site in spec["sites"]])


def _is_latent(site: Fields) -> bool:
    return str(site["site"]).partition(".")[0] == "latent"


def _check_names(names: list[str]) -> None:
    count = sum(_is_latent({"site": name}) for name in names)
    levels = [f"latent.{level}" for level in range(1, count + 1)]
    observed = names[count:]
    several = all(name.startswith("obs.") and len(name) > 4 for name in observed)
    right = names[:count] == (["latent"] if count == 1 else levels)
    if not (count and right and (observed == ["obs"] or (observed and several))):
        raise ValueError(f"its sites are {shown(names)}")
    if len(set(names)) < len(names):
        raise ValueError(f"its sites, {shown(names)}, have one twice")


def _check_keys(
    found: Fields, keys: _Keys, where: str, optional: Collection[str] = _OPTIONAL
) -> None:
    for key in found:
        if key not in keys:
            raise ValueError(f"{where} has an unknown part {shown(key)}")
    for key, fits in keys.items():
        if key not in found and key not in optional:
            raise ValueError(f"{where} has no {key}")
        if key in found and not fits(found[key]):
            raise ValueError(f"{key} of {where} is {shown(found[key])}")
