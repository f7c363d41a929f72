"""Streams of noise: none is another's, each is the same in every process, all are named."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from pyro_vae.elbo.scores import block_noise
from pyro_vae.noise import fixed_noise, noise, seed_noise

ROOT = Path(__file__).parent.parent
FILES = [p for room in ("pyro_vae", "cli") for p in sorted((ROOT / room).rglob("*.py"))]
CPU = torch.device("cpu")
SEEDING = {"fixed_noise", "seed_noise", "manual_seed", "default_rng", "RandomState"}
REPLAYED = {"images", "weights", "estimate", "particles", "stream"}
"""Purposes of several places, which are to draw the same."""
BARE = {
    ("noise.py", "seed"),  # the function itself
    ("arrays.py", "seed"),  # a fraction is held out alike by every version
    ("classifier_network.py", "SEED"),  # a classifier's weights are known by their digest
    ("testing.py", "0"),
    ("checking.py", "201 + seed"),  # probes of a user's loss, in generators of their own
    ("reconstruction.py", "101 + seed"),
    ("reconstruction.py", "11"),
    ("shaping.py", "5"),
    ("isolation.py", "seed"),  # generators of a user's own loss, all of them alike
    ("pictures.py", "seed"),  # of the command line: what vae.sample gives after torch.manual_seed
    ("bits.py", "seed"),  # bits that others have published are numpy's of that seed
    ("patches.py", "0"),  # a data set that is made, and known by its digest
}
"""Seeds that are no ``noise``: (file, what is given)."""


def calls() -> Iterator[tuple[Path, str, ast.Call]]:
    """Every call in the package by its last name."""
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                yield path, name, node


def purposes() -> Counter[str]:
    """Every purpose that the package names, and in how many places."""
    return Counter(
        node.args[0].value
        for _, name, node in calls()
        if name in ("noise", "seeded")
        and node.args
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, str)
    )


def test_no_two_streams_are_one() -> None:
    """By brute force, some 300,000; of their lower 32 bits a processor takes those alone."""
    names = [*purposes(), "another", "other", ""]
    assert len(names) > 20
    every = product(names, [0, 1, 2, 3, 2**32, 2**40], range(1500))
    found = np.fromiter((noise(*stream) for stream in every), dtype=np.uint64)
    assert len(found) > 200_000
    assert len(np.unique(found)) == len(found)
    used = product(names, range(5), range(1000))
    low = np.fromiter((noise(*stream) % 2**32 for stream in used), dtype=np.uint64)
    assert len(np.unique(low)) == len(low)
    nested = product(names, [0, 1], range(20), range(200))
    pairs = [noise(name, seed, (outer, last)) for name, seed, outer, last in nested]
    singles = [noise(*stream) for stream in product(names, [0, 1], range(4000))]
    assert len({*pairs, *singles}) == len(pairs) + len(singles)


@pytest.mark.parametrize("seed", [0, 7])
def test_blocks_of_one_purpose_are_told_apart_for_certain(seed: int) -> None:
    low = {noise("images", seed, block) % 2**32 for block in range(30_000)}
    assert len(low) == 30_000
    wide = {noise("particles", seed, (3, particle)) % 2**32 for particle in range(30_000)}
    assert len(wide) == 30_000


def test_parts_are_kept_apart() -> None:
    """A purpose, a seed and a block that read alike when they are put side by side."""
    alike = [("a", 1, 11), ("a", 11, 1), ("a1", 1, 1), ("a", 1, (1, 1)), ("a", 0x11, 1)]
    alike += [("a', '1", 1, 1), ("a", 1, (11, 0)), ("a", 1, (1, 10)), ("a", 111, 0), ("a", 17, 2)]
    assert len({noise(*parts) for parts in alike}) == len(alike)
    assert noise("a") == noise("a", 0) == noise("a", 0, 0) == noise("a", 0, (0,))


def test_images_and_pieces_no_longer_share_their_noise() -> None:
    """47 + 2 · 1,000,003 was 2,000,003 + 50."""
    drawn = []
    for context in (
        block_noise(47, CPU, seed=2),
        fixed_noise(noise("pieces", block=50), CPU),
        block_noise(47, CPU, seed=2),
    ):
        with context:
            drawn.append(torch.rand(4))
    assert torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], drawn[1])


def test_a_stream_is_the_same_in_every_process() -> None:
    asked = "noise('images', 2, 47), noise('step', 5, (1, 0, 3)), noise('σ', 10**5000)"
    program = f"from pyro_vae.noise import noise; print([hex(n) for n in ({asked})])"
    other = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    said = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": other},
    ).stdout
    here = noise("images", 2, 47), noise("step", 5, (1, 0, 3)), noise("σ", 10**5000)
    assert said.split() == str([hex(number) for number in here]).split()
    assert len(set(here)) == 3


def test_every_torch_generator_takes_every_seed() -> None:
    for block in range(200):
        number = noise("any", block, block)
        assert 0 <= number < 2**63
        torch.Generator().manual_seed(number)
        np.random.default_rng(number)


def test_the_callers_noise_is_left_alone() -> None:
    torch.manual_seed(1)
    wanted = torch.rand(3)
    torch.manual_seed(1)
    with fixed_noise(noise("any"), CPU):
        inside = torch.rand(3)
    assert torch.equal(torch.rand(3), wanted)
    with torch.random.fork_rng([]):
        seed_noise(noise("any"), CPU)
        assert torch.equal(torch.rand(3), inside)


def _faults(path: Path, name: str, node: ast.Call) -> list[str]:
    """What is wrong with a call that seeds a generator."""
    if name not in SEEDING or not node.args:
        return []
    given, where = node.args[0], f"{path.name}:{node.lineno}"
    if isinstance(given, ast.Call) and getattr(given.func, "id", "") == "noise":
        if any(isinstance(part, ast.BinOp) for part in ast.walk(given)):
            return [f"{where} computes with what noise is given"]
        return []
    text = ast.unparse(given)
    return [] if (path.name, text) in BARE else [f"{where} seeds by {text}, which is no noise(...)"]


def test_seeds_are_named_and_not_computed() -> None:
    seeding = [call for call in calls() if call[1] in SEEDING]
    assert len(seeding) > 20
    assert not [fault for call in seeding for fault in _faults(*call)]
    for path in FILES:  # nor anywhere before the call
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult | ast.Mod | ast.Pow):
                names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
                names |= {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)}
                assert not {"seed", "SEED"} & names, f"{path}:{node.lineno}"


@pytest.mark.parametrize(
    ("planted", "found"),
    [
        ("fixed_noise(seed * 1_000_003 + block, device)", True),
        ("measures.fixed_noise(0, device)", True),
        ("torch.manual_seed(3 * seed)", True),
        ("fixed_noise(noise('pieces', 0, 7 * seed + block), device)", True),
        ("fixed_noise(noise('pieces', seed, block), device)", False),
    ],
)
def test_a_planted_seed_is_found(planted: str, found: bool) -> None:
    node = ast.parse(planted, mode="eval").body
    assert isinstance(node, ast.Call)
    name = getattr(node.func, "attr", getattr(node.func, "id", ""))
    assert bool(_faults(Path("planted.py"), name, node)) == found


def test_a_purpose_is_of_one_place() -> None:
    several = {purpose for purpose, places in purposes().items() if places > 1}
    assert several <= REPLAYED
    assert set(purposes()) >= REPLAYED
