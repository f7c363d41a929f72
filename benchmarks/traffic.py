"""Bytes that a data-parallel step moves, for the networks as they are built.

    python -m benchmarks.traffic

Each of N processes sends and receives 2 (N − 1)/N times the gradients (a ring all-reduce), once a
step, whatever the batch; and a row of figures beside them, which is nothing against that.
"""

from __future__ import annotations

import pyro_vae as pv

CASES = {
    "784-400-20 MLP": ((1, 28, 28), "mlp"),
    "convolutional, 3×64×64": ((3, 64, 64), "conv"),
}
PROCESSES = (2, 8, 64, 512)


def main() -> None:
    """Print the table."""
    heads = " | ".join(f"{n} processes" for n in PROCESSES)
    print(f"| network | parameters | gradients | {heads} |")
    print("|---|---|---|" + "---|" * len(PROCESSES))
    for name, (shape, net) in CASES.items():
        vae = pv.VAE(shape, 20, "bernoulli", net)
        numbers = sum(p.numel() for p in vae.parameters())
        moved = " | ".join(f"{8e-6 * numbers * (n - 1) / n:.1f} MB" for n in PROCESSES)
        print(f"| {name} | {numbers:,} | {4e-6 * numbers:.1f} MB | {moved} |")


if __name__ == "__main__":
    main()
