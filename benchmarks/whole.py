"""What part of ``pyro-vae fit`` at its defaults is spent in training steps.

    python -m benchmarks.whole

runs the command on mnist-5k and prints its seconds, those of its steps (each step's images over its
images per second, from metrics.jsonl) and what is left: imports, baselines, the forecast, held-out
scores and pictures.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BATCH, TRAINING = 128, 4500


def main() -> None:
    """Run and print a JSON line."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        command = [sys.executable, "-m", "pyro_vae_cli", "fit", "--out", str(out)]
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        whole = time.perf_counter() - began
        lines = (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    rates = [r["images_per_second"] for r in records if r["record"] == "step"]
    last = TRAINING % BATCH  # of each epoch
    each = TRAINING // BATCH + 1
    steps = sum((last if (i + 1) % each == 0 else BATCH) / rate for i, rate in enumerate(rates))
    found = {"seconds": whole, "in steps": steps, "share outside": 1 - steps / whole}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
