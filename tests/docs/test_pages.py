"""Every block of every page is run, or excused with a reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from .pages import PAGES, ROOT, blocks_of
from .running import Runner, agrees

pytestmark = pytest.mark.usefixtures("pictures")


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return Runner(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_page_does_what_it_says(page: Path, runner: Runner) -> None:
    for block in blocks_of(page):
        try:
            runner(block)
        except Exception as error:
            raise AssertionError(f"{block.where}: {error}") from error


def test_most_blocks_are_run() -> None:
    blocks = [block for page in PAGES for block in blocks_of(page)]
    excused = [block for block in blocks if block.excuse is not None]
    assert len(blocks) > 45
    assert len(excused) < len(blocks) / 4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("```python\n1 / 0\n```", "division by zero"),
        ("```pycon\n>>> 1 + 1\n3\n```", "Expected:\n    3"),
        ("```sh\npyro-vae obs no-such-thing\n```", "exits with 2"),
        ("```sh\npyro-vae fit --no-such-option\n```", "exits with 2"),
        ("```sh\nno-such-program\n```", "nothing runs"),
        ("```cobol\nSTOP RUN.\n```", "nothing runs"),
        ("```\nx\n```", "without a language"),
        ("    x = 1\n", "indented"),
        ("<!-- not run: because -->\n```python\n1 / 0\n```", "no reason"),
        ("<!-- small: 20 -> 2 -->\n```python\n1\n```", "not in the block"),
        ("```python\nprint('a 1')\n```\n\n```text\nb 1\n```", "prints"),
        ("```toml\nx =\n```", "Invalid value"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else None,
)
def test_a_page_that_is_wrong_fails(text: str, said: str, tmp_path: Path, runner: Runner) -> None:
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    with pytest.raises(Exception, match=r"(?s).") as caught:  # noqa: PT012
        for block in blocks_of(page):
            runner(block)
    assert said in str(caught.value)


def test_what_is_printed_may_differ_in_numbers_and_not_in_words() -> None:
    assert agrees("elbo  -12.5 nats\n...\nkl 3", "elbo -13.25 nats\nmore\n kl 1e+05\n")
    assert not agrees("elbo 1 nats", "elbo 1 bits")
    assert not agrees("one 1\ntwo 2", "two 2\none 1")
