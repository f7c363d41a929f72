"""Where the run folders of former formats are, and what is in a folder."""

from __future__ import annotations

from pathlib import Path

from tests.fixtures import format_1

FIXTURES = Path(format_1.__file__).parent / "format-1"
SECOND = FIXTURES.parent / "format-2"


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
