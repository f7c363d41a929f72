"""Schedules at named steps by hand, their text, and the errors of text that is none."""

from __future__ import annotations

import math

import pytest

from pyro_vae.schedules import Length, Schedule, check_length, parse


def logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0.5", {0: 0.5, 7: 0.5, 10**6: 0.5}),
        ("constant:1", {0: 1, 999: 1}),
        ("linear:0,1,steps=1000", {0: 0, 1: 0.001, 250: 0.25, 999: 0.999, 1000: 1, 9999: 1}),
        ("linear:4,1,steps=3", {0: 4, 1: 3, 2: 2, 3: 1, 4: 1}),
        ("linear:0.1,0.1,steps=10", {0: 0.1, 3: 0.1, 10: 0.1}),
        (
            "cosine:0,2,steps=100",
            {0: 0, 25: 1 - 0.5**0.5, 50: 1, 75: 1 + 0.5**0.5, 100: 2, 101: 2},
        ),
        (
            "sigmoid:0,1,steps=12",
            # The logistic curve from −6 to 6, shifted and stretched to meet both ends.
            {k: (logistic(k - 6) - logistic(-6)) / (logistic(6) - logistic(-6)) for k in range(13)}
            | {6: 0.5, 13: 1},
        ),
        (
            "cyclical:0,1,period=500,ratio=0.5",
            {0: 0, 125: 0.5, 249: 0.996, 250: 1, 499: 1, 500: 0, 625: 0.5, 5250: 1},
        ),
        ("cyclical:0.5,1,period=10,ratio=1", {0: 0.5, 5: 0.75, 9: 0.95, 10: 0.5}),
        ("cyclical:0,1,period=10,ratio=0.25", {1: 0.4, 2: 0.8, 3: 1, 10: 0}),
    ],
)
def test_value(text: str, values: dict[int, float]) -> None:
    schedule = parse(text)
    assert {step: schedule(step) for step in values} == pytest.approx(values, abs=1e-12)


@pytest.mark.parametrize("shape", ["linear", "cosine", "sigmoid"])
@pytest.mark.parametrize(("start", "end"), [(0.1, 0.7), (3.3, 0.1), (0, 1)])
def test_ends_are_exact_and_the_way_is_monotone(shape: str, start: float, end: float) -> None:
    schedule = parse(f"{shape}:{start},{end},steps=97")
    values = [schedule(step) for step in range(110)]
    assert values[0] == start
    assert set(values[97:]) == {end}
    assert values == sorted(values, reverse=end < start)
    assert len(set(values[:98])) == 98


def test_epochs() -> None:
    schedule = parse("linear:0,1,epochs=10")
    resolved = schedule.in_steps(40)
    assert resolved == parse("linear:0,1,steps=400")
    assert resolved(100) == 0.25
    assert parse("cyclical:0,1,period=5epochs,ratio=0.5").in_steps(100) == parse(
        "cyclical:0,1,period=500"
    )
    assert parse("cosine:0,1,epochs=0.5").in_steps(100) == parse("cosine:0,1,steps=50")
    assert parse("linear:0,1,epochs=0.001").in_steps(100) == parse("linear:0,1,steps=1")
    assert parse("linear:0,1,steps=7").in_steps(100) == parse("linear:0,1,steps=7")
    assert parse("2").in_steps(100) == parse("2")
    for unresolved in (lambda: schedule(3), lambda: schedule.settles_at):
        with pytest.raises(ValueError, match="in_steps"):
            unresolved()
    with pytest.raises(ValueError, match="steps_per_epoch must be positive, got 0"):
        schedule.in_steps(0)


@pytest.mark.parametrize(
    ("text", "final", "settles"),
    [
        ("0.3", 0.3, 0),
        ("linear:0,1,steps=1000", 1, 1000),
        ("sigmoid:2,0.5,steps=10", 0.5, 10),
        ("linear:1,1,steps=1000", 1, 0),
        ("cyclical:0,2,period=500", 2, None),
        ("cyclical:2,2,period=500", 2, 0),
    ],
)
def test_final(text: str, final: float, settles: int | None) -> None:
    schedule = parse(text)
    assert (schedule.final, schedule.settles_at) == (final, settles)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("0.5", "constant:0.5"),
        (" 1e-3\n", "constant:0.001"),
        ("constant:1", "constant:1"),
        ("linear:0,1,steps=1000", "linear:0,1,steps=1000"),
        ("linear: 0 , 1.0 , epochs = 1e1", "linear:0,1,epochs=10"),
        ("cosine:0.1,4,epochs=2.5", "cosine:0.1,4,epochs=2.5"),
        ("cyclical:0,1,ratio=0.25,period=500steps", "cyclical:0,1,period=500,ratio=0.25"),
        ("cyclical:0,1,period=5epochs", "cyclical:0,1,period=5epochs,ratio=0.5"),
        ("sigmoid:-0,1,steps=3", "sigmoid:0,1,steps=3"),
    ],
)
def test_text_round_trip(text: str, shown: str) -> None:
    schedule = parse(text)
    assert str(schedule) == shown
    assert parse(shown) == schedule
    assert hash(parse(shown)) == hash(schedule)


def test_numbers_are_constants() -> None:
    assert parse(0.5) == parse("0.5")
    assert parse(2) == parse("constant:2")
    with pytest.raises(TypeError, match="text or a number, got NoneType"):
        parse(None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "at", "message"),
    [
        ("", 1, "unknown schedule ''"),
        ("liner:0,1,steps=5", 1, "unknown schedule 'liner': did you mean 'linear'?"),
        ("banana", 1, "unknown schedule 'banana': Accepted: a number, constant"),
        ("linear", 7, "expected ':', as in linear:START,END"),
        ("linear:", 8, "expected a number, got ''"),
        ("linear:0", 9, "expected 2 values"),
        ("linear:0,x,steps=10", 10, "expected a number, got 'x'"),
        ("linear:0,1", 11, "expected one of steps= and epochs="),
        ("linear:0,1,steps=", 18, "expected a number, got ''"),
        ("linear:0,1,steps=ten", 18, "expected a number, got 'ten'"),
        ("linear:0,1,steps=0", 18, "must be positive and finite, got 0"),
        ("linear:0,1,steps=-5", 18, "must be positive and finite, got -5"),
        ("linear:0,1,steps=2.5", 18, "steps must be a whole number, got 2.5"),
        ("linear:0,1,steps=nan", 18, "expected a finite number, got 'nan'"),
        ("linear:0,1,steps=5,epochs=3", 28, "expected one of steps= and epochs="),
        ("linear:0,1,steps=5,steps=3", 20, "steps is given twice"),
        ("linear:0,1,period=5", 12, "unexpected 'period=5'"),
        ("linear:0,1,5", 12, "unexpected '5'"),
        ("linear:0,-1,steps=5", 10, "β must not be negative, got -1"),
        ("linear:0,  -1,steps=5", 12, "β must not be negative, got -1"),
        ("linear:0,inf,steps=5", 10, "expected a finite number, got 'inf'"),
        ("linear:0,1e999,steps=5", 10, "expected a finite number, got '1e999'"),
        ("linear:0,1_0,steps=5", 10, "expected a number, got '1_0'"),
        ("nan", 1, "expected a finite number, got 'nan'"),
        ("-1", 1, "β must not be negative"),
        ("1.2.3", 1, "expected a number, got '1.2.3'"),
        ("constant:1,2", 12, "unexpected '2'"),
        ("cyclical:0,1", 13, "period is missing"),
        ("cyclical:0,1,period=-500", 21, "must be positive and finite, got -500"),
        ("cyclical:0,1,period=5weeks", 21, "expected a number, got '5weeks'"),
        ("cyclical:0,1,period=500,ratio=0", 31, "ratio must be above 0 and at most 1, got 0"),
        ("cyclical:0,1,period=500,ratio=1.5", 31, "ratio must be above 0 and at most 1"),
        ("cyclical:0,1,period=500,steps=3", 25, "unexpected 'steps=3'"),
    ],
)
def test_bad_text_points_at_the_character(text: str, at: int, message: str) -> None:
    with pytest.raises(ValueError, match=r".+") as caught:
        parse(text)
    assert str(caught.value).startswith(f"schedule {text!r}, at character {at}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Schedule("linear", 0, 1), "all schedules but a constant have a length"),
        (lambda: Schedule("constant", 0, 1), "a constant's ends are the same"),
        (lambda: Schedule("step", 0, 1, Length(3)), "shape is one of"),
        (lambda: Schedule("linear", math.nan, 1, Length(3)), "finite and not negative, got nan"),
        (lambda: Schedule("linear", 0, 1, Length(3), ratio=0.5), "only a cyclical schedule"),
        (lambda: Length(3, "weeks"), "in steps or epochs, got 'weeks'"),
        (lambda: parse("1")(-1), "step must not be negative, got -1"),
        (lambda: parse(-0.5), "finite and not negative, got -0.5"),
    ],
)
def test_bad_values(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("text", "steps", "ends"),
    [
        ("linear:0,1,steps=1000", 300, "longer than the 300 steps of training, "
         "which ends at β = 0.299"),
        ("linear:0,1,steps=1000", 1000, None),
        ("linear:0,1,steps=1000", 999, "which ends at β = 0.998"),
        ("linear:1,1,steps=1000", 10, None),
        ("0.5", 1, None),
        ("cyclical:0,1,period=500", 400, "longer than the 400 steps of training, "
         "which ends at β = 1"),
        ("cyclical:0,1,period=500", 600, "inside a ramp at the end of the 600 steps of training, "
         "which ends at β = 0.396"),
        ("cyclical:0,1,period=500", 750, None),
        ("cyclical:0,1,period=500", 1000, None),
        ("cyclical:0,1,period=500,ratio=1", 1000, None),
    ],
)  # fmt: skip
def test_check_length(text: str, steps: int, ends: str | None) -> None:
    warning = check_length(parse(text), steps)
    if ends is None:
        assert warning is None
    else:
        assert warning is not None
        assert warning.startswith(str(parse(text)))
        assert warning.endswith(ends)


def test_check_length_refuses_an_empty_training() -> None:
    with pytest.raises(ValueError, match="total_steps must be positive, got 0"):
        check_length(parse("1"), 0)
