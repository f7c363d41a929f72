"""Training images per second, against loops by hand, Pyro's way and pythae's, in turns.

    python -m benchmarks.throughput
    python -m benchmarks.throughput --net conv --shape 3 32 32 --images 2560 \\
        --only eager compiled bare bare-compiled

All train a VAE of the same networks with cross-entropy, in batches of 128, on the same images.
After 800 steps their losses must be within 1% of each other's; then every round is a pass of each.
Printed and written: images per second, and ratios with 90% intervals.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from benchmarks import common, loops
from benchmarks.loops import Pass, Setting

WARM_UP = 800  # steps
FIVE_EPOCHS = 5 * 60_000 // 128

Make = Callable[[torch.Tensor, Setting], Pass]
CONTENDERS: dict[str, Make] = {
    "eager": lambda x, s: loops.ours(x, s),
    "auto": lambda x, s: loops.ours(x, s, compile="auto", steps=FIVE_EPOCHS),
    "compiled": lambda x, s: loops.ours(x, s, compile="on"),
    "compiled-bfloat16": lambda x, s: loops.ours(x, s, compile="on", precision="bfloat16"),
    "bare": lambda x, s: loops.bare(x, s),
    "bare-compiled": lambda x, s: loops.bare(x, s, compiled=True),
    "limit": lambda x, s: loops.bare(x, s, compiled=True, half=True),
    "tutorial": loops.tutorial,
    "pyro": loops.pyro_svi,
    "pythae": loops.pythae,
}
RATIOS = (
    ("eager", "bare"),
    ("auto", "bare"),
    ("compiled", "bare"),
    ("compiled", "bare-compiled"),
    ("compiled-bfloat16", "limit"),
    ("compiled-bfloat16", "pythae"),
    ("compiled", "pythae"),
    ("compiled", "pyro"),
    ("compiled", "tutorial"),
    ("eager", "pyro"),
)


def made(names: Sequence[str], images: torch.Tensor, setting: Setting) -> dict[str, Pass]:
    """The contenders that can be had."""
    found = {}
    for name in names:
        try:
            found[name] = CONTENDERS[name](images, setting)
        except ImportError as error:
            print(f"without {name}: {error}; pip install 'pyro_vae[benchmark]'")
    return found


def check(losses: dict[str, float]) -> None:
    """Refuse to time what does not compute the same."""
    low, high = min(losses.values()), max(losses.values())
    if high > 1.01 * low:
        raise SystemExit(f"losses differ by more than 1%: {losses}")


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--images", type=int, default=12_800)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--warm-up", type=int, default=WARM_UP, help="steps before losses count")
    parser.add_argument("--net", default="mlp", choices=("mlp", "conv"))
    parser.add_argument("--shape", type=int, nargs=3, default=(1, 28, 28), metavar="N")
    parser.add_argument("--only", nargs="+", choices=list(CONTENDERS), default=list(CONTENDERS))
    parser.add_argument("--data-root", default=None)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=None, help="JSON file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    setting = Setting(options.net, options.batch, options.device)
    images = common.fashion(options.data_root, options.images)
    channels, side, _ = options.shape
    if (channels, side) != (1, 28):
        images = torch.nn.functional.interpolate(images.float(), (side, side)).byte()
        images = images.expand(-1, channels, -1, -1).contiguous()
    contenders = made(options.only, images, setting)
    passes = -(-options.warm_up * options.batch // len(images))
    losses = {name: [run() for _ in range(passes)][-1] for name, run in contenders.items()}
    check(losses)
    times = common.in_turns(contenders, options.rounds, warm_up=0)
    rates = common.per_second(times, len(images))
    pairs = [(a, b) for a, b in RATIOS if a in times and b in times]
    found = {
        "what": f"{options.net}, {'x'.join(map(str, options.shape))}, batch {options.batch}",
        "rounds": options.rounds,
        "images_per_second": {name: round(rate) for name, rate in rates.items()},
        "losses": losses,
        "ratios": {f"{a} / {b}": common.ratio(times, a, b) for a, b in pairs},
        "machine": common.machine(),
    }
    for name, rate in rates.items():
        print(f"{name:<18} {rate:>9,.0f} images/s   loss {losses[name]:.1f} nats")
    for name, value in found["ratios"].items():
        print(f"{name:<30} {value['median']:.2f}  [{value['low']:.2f}, {value['high']:.2f}]")
    if options.out is not None:
        options.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        draw(times, len(images), options.out.with_suffix(".png"))


def draw(times: common.Times, images: int, path: Path) -> None:
    """A bar for each contender."""
    from matplotlib.figure import Figure

    rates = dict(sorted(common.per_second(times, images).items(), key=lambda item: item[1]))
    figure = Figure(figsize=(7, 0.35 * len(rates) + 1), layout="constrained")
    axes = figure.subplots()
    colours = ["#D55E00" if n.startswith(("eager", "auto", "comp")) else "#0072B2" for n in rates]
    axes.barh(list(rates), list(rates.values()), color=colours)
    axes.set_xlabel("training images per second (ours in orange)")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
