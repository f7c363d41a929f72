"""The data that a run was trained on, found again by what its configuration says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pyro_vae.data import Data, conditioned, first, stock
from pyro_vae.data.bits import bits_words, digests_of_bits
from pyro_vae.data.endings import expanded, is_table
from pyro_vae.data.kept import as_kept, renamed
from pyro_vae.data.parts import Asked, parted
from pyro_vae.errors import InputError
from pyro_vae.types import JSON

__all__: list[str] = []


def load_data(
    name: str | None,
    root: Path | None,
    download: bool,
    config: JSON | None = None,
    resize: int | None = None,
    crop: int | None = None,
    load: Callable[..., Data] = stock.load,
) -> tuple[Data, JSON]:
    """The data set that was asked for, or the one that a run was trained on.

    Image files come to the size that was asked for, else to that of the run's. What a run held out
    stays held out, its validation part too, and bits that were drawn once are the same ones.
    ``load`` reads what is named, as :func:`pyro_vae.data.load`.

    Returns:
        The data; and how to find them again, with ``changed``, a line where they have changed
        since the run held some of them out, or None, and ``binarised``, which bits they are.
    """
    described = (config or {}).get("data") or {}
    if name is None and config is not None and not described:
        raise InputError("the run was trained on arrays from a script: name a data set by --data")
    count = described.get("images") if name is None else None
    name = absolute(name) or described.get("name") or "mnist-5k"
    root = root or (Path(described["root"]) if described.get("root") else None)
    if stock.is_image_files(name):
        resize, crop = resize or described.get("resize"), crop or described.get("crop")
    check_kind(name, described)
    found, changed, bits = load(name, root, download, resize, crop, described), None, None
    if config is not None:
        same = name == described.get("name")
        loaded = found
        found, bits = _parts_of(found, described, same)
        found, changed = as_kept(found, config, name, same)
        found = renamed(loaded, found)
        if same and stock.is_path(name) and "images" not in config:
            changed = (
                f"the run is of a version that did not keep which images of {name} were held out: "
                "if they have changed since, those scored may be ones that it was trained on"
            )
        kept_bits = digests_of_bits(described.get("binarised"))
        if same and changed is None and digests_of_bits(bits) != kept_bits:
            changed = f"{name} has changed since fit, and so have its {bits_words(bits or {})}"
    rest = {"name": name, "root": str(root) if root else None, "changed": changed}
    rest["binarised"] = bits
    return conditioned(first(found, count), described.get("condition")), rest


def _parts_of(data: Data, described: JSON, same: bool) -> tuple[Data, JSON | None]:
    """The parts that a run had, where the data are the run's; and its bits, of any data."""
    seed = (described.get("binarised") or {}).get("seed")
    asked = Asked(described.get("validation") if same else None, bits=seed)
    found, parts, _ = parted(data, asked, described, anew=False)
    return found, parts.get("binarised")


def part_of(data: Data) -> str:
    """Which part choices in training look at, and held-out records are of."""
    return "test" if data.validation is None else "validation"


def check_kind(name: str, described: JSON) -> None:
    """Refuse a table where a run is of images, and images where it is of a table.

    Raises:
        InputError: If the data are of another kind than the run's.
    """
    if described and ("columns" in described) != is_table(name):
        kind = "a table: --data must be a .csv, .tsv, .parquet or .feather file"
        kind = kind if "columns" in described else "images or vectors: --data must be such"
        raise InputError(f"the run is of {kind}, got {name}")


def absolute(name: str | None) -> str | None:
    """The name of a data set, or the full path of a file or folder, which holds from any folder."""
    name = None if name is None else expanded(name)
    return str(Path(name).resolve()) if name is not None and stock.is_path(name) else name
