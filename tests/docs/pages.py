"""The blocks of a page, with what its comments say of how they are tested.

An HTML comment right before a block says what a test changes; readers do not see it:

``<!-- small: OLD -> NEW -->``
    OLD in the block, which must be there, is NEW in the test; lines make several of them.
``<!-- not run: REASON: more words -->``
    The block is not run, for one of :data:`REASONS`.
``<!-- exits: 2 -->``
    The last command ends with this status.
``<!-- file: NAME -->``
    The block is the content of this file, which a later command uses.

A block of ``text`` right after one that is run is its output: numbers may differ, words may not,
and ``...`` stands for anything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

__all__ = ["PAGES", "REASONS", "ROOT", "Block", "blocks_of", "tokens_of"]

ROOT = Path(__file__).parent.parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "benchmarks/README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]

REASONS = {
    "network": "it fetches something",
    "GPU": "no test machine has one",
    "cluster": "it needs several machines",
    "processes": "it starts several processes, which tests of their own do",
    "minutes": "it takes minutes, and a smaller setting of the same is tested elsewhere",
    "tests": "it is the tests",
    "other program": "it is another program's, shown for comparison",
    "words": "it is no code",
}
"""Why a block may be left out."""

COMMENT = re.compile(r"<!--\s*(small|not run|exits|file):\s*(.*?)\s*-->", re.DOTALL)


@dataclass
class Block:
    """A fenced block.

    Attributes:
        where: Page and line.
        language: Its info string.
        text: What is in it.
        small: (old, new) pairs of what the test changes.
        excuse: Why it is not run, or None.
        status: Exit status of its last command.
        file: The file that it is the content of, or None.
        output: What it is said to print, or None.
    """

    where: str
    language: str
    text: str
    small: list[tuple[str, str]] = field(default_factory=list)
    excuse: str | None = None
    status: int = 0
    file: str | None = None
    output: str | None = None

    @property
    def tested(self) -> str:
        """The text with the changes of the test."""
        text = self.text
        for old, new in self.small:
            if old not in text:
                raise ValueError(f"{self.where}: {old!r} is not in the block that it is changed in")
            text = text.replace(old, new)
        return text


def tokens_of(page: Path) -> list[Token]:
    """The page as CommonMark with tables."""
    return MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8"))


def blocks_of(page: Path) -> list[Block]:
    """Every block of code, in order.

    Raises:
        ValueError: If a block has no language, is indented instead of fenced, or a comment is not
            understood.
    """
    blocks: list[Block] = []
    name = page.relative_to(ROOT).as_posix() if page.is_relative_to(ROOT) else page.name
    comments: list[str] = []
    last: Block | None = None
    for token in tokens_of(page):
        line = token.map[0] + 1 if token.map else 0
        if token.type == "code_block":
            raise ValueError(f"{name}:{line}: an indented block: fence it")
        if token.type == "html_block":
            comments.append(token.content)
            continue
        if token.type == "fence":
            block = _block(f"{name}:{line}", token, comments)
            if block.language == "text" and last is not None and block.excuse is None:
                last.output = block.text
            else:
                blocks.append(block)
            last = block if block.language != "text" and block.excuse is None else None
        elif token.type != "list_item_close":
            last = None
        comments = []
    return blocks


def _block(where: str, token: Token, comments: list[str]) -> Block:
    language = token.info.split()[0] if token.info.strip() else ""
    if not language:
        raise ValueError(f"{where}: a block without a language")
    block = Block(where, language, token.content)
    for key, value in COMMENT.findall("\n".join(comments)):
        if key == "small":
            pairs = [line.split(" -> ") for line in value.splitlines()]
            block.small += [(old.strip(), new.strip()) for old, new in pairs]
        elif key == "not run":
            if value.split(":")[0] not in REASONS:
                raise ValueError(f"{where}: {value!r} is no reason of {', '.join(REASONS)}")
            block.excuse = value
        elif key == "exits":
            block.status = int(value)
        else:
            block.file = value
    return block
