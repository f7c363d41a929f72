"""Rooms that one batch enters, and the calls that go up: from `fit` to a record, and `diagnose`.

    python -m benchmarks.rooms

A call counts where a function of one room is called by one of another. It goes up where the called
room stands above the other in the table of docs/inside.md; calls of the class that was handed down
(a callback of the command line's, a method of the model that was given) do so, too.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from tests.test_layers import PAGE, ROOT, rooms_of

ORDER = list(rooms_of(PAGE))


def room_of(frame: FrameType) -> str | None:
    """The room of a frame's code, None of others' code."""
    try:
        parts = Path(frame.f_code.co_filename).resolve().relative_to(ROOT).parts
    except ValueError:
        return None
    if parts[0] == "cli":
        return "cli"
    if parts[0] != "pyro_vae":
        return None
    return "__init__" if len(parts) == 2 and parts[1] == "__init__.py" else parts[1].split(".")[0]


def walked(words: list[str]) -> tuple[list[str], Counter[tuple[str, str]]]:
    """Rooms in which a command calls functions, and calls from one to another."""
    from importlib.metadata import entry_points

    (command,) = entry_points(group="console_scripts", name="pyro-vae")
    main = command.load()
    rooms: dict[str, None] = {}
    calls: Counter[tuple[str, str]] = Counter()

    def seen(frame: FrameType, event: str, _: Any) -> None:
        if event != "call" or frame.f_code.co_name == "<module>":
            return
        room = room_of(frame)
        if room is None:
            return
        rooms.setdefault(room)
        above = frame.f_back
        while above is not None and room_of(above) is None:
            above = above.f_back
        if above is not None and (caller := room_of(above)) not in (None, room):
            calls[str(caller), room] += 1

    sys.setprofile(seen)
    try:
        with suppress(SystemExit):  # its status says that something is wrong with so small a run
            main(words, standalone_mode=False)
    finally:
        sys.setprofile(None)
    return list(rooms), calls


def main() -> None:
    """Print a line of JSON for each walk."""
    with tempfile.TemporaryDirectory() as folder:
        run = f"{folder}/run"
        size = [
            "--images",
            "128",
            "--batch-size",
            "128",
            "--epochs",
            "1",
            "--hidden",
            "8",
            "--compile",
            "off",
        ]
        for words in (["fit", *size, "--out", run], ["diagnose", run]):
            rooms, calls = walked(words)
            up = {
                f"{a} -> {b}": n for (a, b), n in calls.items() if ORDER.index(b) < ORDER.index(a)
            }
            print(json.dumps({"command": words[0], "rooms": rooms, "up": up}))


if __name__ == "__main__":
    main()
