"""One grammar for texts: what it takes apart goes together, and it points at what is wrong."""

from __future__ import annotations

import copy
import pickle
import random

import pytest

import pyro_vae as pv
from pyro_vae.texts import TextError, Word, arguments

LETTERS = "abcdefg-._0123456789"


@pytest.mark.parametrize("seed", range(20))
def test_what_was_put_together_is_taken_apart(seed: int) -> None:
    chance = random.Random(seed)

    def word() -> str:
        return "".join(chance.choices(LETTERS, k=chance.randint(1, 6)))

    name, values = word(), [word() for _ in range(chance.randint(0, 3))]
    options = {word(): word() for _ in range(chance.randint(0, 3))}
    words = [*values, *(f"{key} = {value}" for key, value in options.items())]
    text = f" {name} : {' , '.join(words)} " if words else name
    found, rest = Word(text).pair(":")
    assert found == name
    assert arguments(rest, len(values), list(options), "") == (values, options)


@pytest.mark.parametrize("text", ["", "  a b :: c,,d  ", ":", " , : ,", "a:b:c", "\ta:\n b , c"])
def test_a_word_stands_where_it_says(text: str) -> None:
    first, rest = Word(text).pair(":")
    words = [first, *([] if rest is None else rest.parts())]
    assert [text[word.at : word.at + len(word)] for word in words] == words
    assert [word.strip() for word in words] == words


@pytest.mark.parametrize(
    ("text", "at", "message"),
    [
        ("1,2", 2, "unexpected '2', one and floor="),
        ("1, flor=2", 3, "unexpected 'flor=2', did you mean 'floor'? one and floor="),
        ("1,floor=2,floor=3", 10, "floor is given twice"),
        ("floor=2,1", 8, "unexpected '1', one and floor="),
        ("", 0, ""),
    ],
)
def test_it_points_at_what_is_wrong(text: str, at: int, message: str) -> None:
    if not message:
        assert arguments(Word(text), 1, ["floor"], "") == ([""], {})
        return
    with pytest.raises(TextError) as caught:
        arguments(Word(text), 1, ["floor"], "one and floor=")
    assert (caught.value.at, str(caught.value)) == (at, message)


def test_the_last_sign_can_part_it() -> None:
    assert Word("a=b=c").pair("=") == ("a", "b=c")
    assert Word("a=b=c").pair("=", last=True) == ("a=b", "c")


@pytest.mark.parametrize(
    "again", [copy.deepcopy, copy.copy, lambda w: pickle.loads(pickle.dumps(w))]
)
def test_a_copy_of_a_word_is_one(again: object) -> None:
    word = Word(" b", 3)
    other = again(word)  # type: ignore[operator]
    assert (other, other.at, type(other)) == ("b", 4, Word)


@pytest.mark.parametrize(
    "make",
    [
        lambda: pv.objectives.parse("capacity:2,gama=3"),
        lambda: pv.schedules.parse("linear:0,1,stesp=3"),
        lambda: pv.observations.head_of(pv.config.ObservationConfig(param=("loc=pixel,flor=1",))),
    ],
    ids=["objective", "schedule", "param"],
)
def test_every_text_says_the_nearest_key(make: object) -> None:
    with pytest.raises(ValueError, match=r"unexpected '.*did you mean '(gamma|steps|floor)'\?"):
        make()  # type: ignore[operator]
