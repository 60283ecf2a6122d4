"""One bar for a run: its share done, its time left, and lines of JSON for programs."""

import ast
import io
import json
import sys

import numpy as np
import pytest
from conftest import REPO

from geossda.progress import Silent, Stages, begin_output
from geossda.run_estimate import PLANS, RunEstimate, in_words
from geossda_cli.main import COMMANDS, main
from geossda_cli.progress import Bar, Lines


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def work(estimate, clock, steps, seconds):
    for _ in range(steps):
        clock.now += seconds
        estimate.advance()


PLAN = (("reading", 10), ("computing", 80), ("writing", 10))


def test_shares_of_stages_add_up_and_the_time_left_is_the_main_stages_own(clock):
    estimate = RunEstimate(PLAN, clock)
    assert (estimate.fraction, estimate.seconds_left) == (0.0, None)
    estimate.stage("reading", 4)
    work(estimate, clock, 2, 1.0)
    assert estimate.fraction == pytest.approx(0.05)
    assert estimate.seconds_left is None, "what follows is the larger part"
    work(estimate, clock, 2, 1.0)
    estimate.stage("computing", 100)
    assert estimate.seconds_left is None
    work(estimate, clock, 50, 2.0)
    assert estimate.fraction == pytest.approx(0.5)
    # 50 steps of two seconds, and an eighth of the stage's 200 seconds for writing.
    assert estimate.seconds_left == pytest.approx(100 + 25)
    estimate.stage("writing a.tif", 10)
    work(estimate, clock, 10, 1.0)
    assert (estimate.fraction, estimate.seconds_left) == (pytest.approx(1.0), 0.0)


def test_what_a_resumed_run_skips_says_nothing_of_its_speed(clock):
    estimate = RunEstimate(PLAN, clock)
    estimate.stage("computing", 100)
    clock.now += 30.0
    estimate.advance(60)
    assert estimate.seconds_left is None
    work(estimate, clock, 10, 3.0)
    assert estimate.seconds_left == pytest.approx(30 * 3 + 100 * 3 / 8)


def test_the_share_never_falls_whatever_comes(clock):
    estimate = RunEstimate(PLAN, clock)
    seen = []
    for name, total in (("computing", 2), ("reading", 5), ("unheard of", None), ("reading", 0),
                        ("writing b", 1), ("computing", 9)):  # fmt: skip
        estimate.stage(name, total)
        for _ in range(12):
            estimate.advance()
            seen.append(estimate.fraction)
            assert estimate.seconds_left is None or estimate.seconds_left >= 0
    assert seen == sorted(seen) and 0 < seen[0] and seen[-1] <= 1
    empty = RunEstimate((), clock)
    empty.stage("a", 3)
    empty.advance()
    assert (empty.fraction, empty.seconds_left) == (0.0, None)


def test_several_outputs_share_the_bar(clock):
    estimate = RunEstimate(PLAN, clock)
    for number in (1, 2):
        estimate.begin_output(number, 2)
        estimate.stage("computing", 10)
        work(estimate, clock, 5, 1.0)
        left = {1: 5 + 1.25 + 5 + 6.25, 2: 5 + 1.25}[number]
        assert estimate.seconds_left == pytest.approx(left)
        assert estimate.fraction == pytest.approx((number - 1) / 2 + 0.25)
        work(estimate, clock, 5, 1.0)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(None, ""), (12, "less than a minute left"), (95, "about 2 min left"),
     (3599, "about 1 h 0 min left"), (5000, "about 1 h 20 min left"), (80000, "about 22 h left")],
)  # fmt: skip
def test_times_left_in_words(seconds, said):
    assert in_words(seconds) == said


def stages_in_code():
    """Yield the names of all stages that functions report; of f-strings, the first word."""
    for path in (REPO / "geossda").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and getattr(node.func, "attr", "") == "stage"
                and node.args
            ):
                name = node.args[0]
                if isinstance(name, ast.JoinedStr):
                    yield name.values[0].value.strip()
                elif isinstance(name, ast.Constant):
                    yield name.value


def test_the_plans_know_every_stage_and_no_other():
    planned = {name for plan in PLANS.values() for name, _ in plan}
    # Named where shards are begun.
    assert planned - set(stages_in_code()) == {"harmonizing", "segmenting"}
    assert set(stages_in_code()) <= planned
    assert set(PLANS) == set(COMMANDS) - {"describe", "info", "models"}


def test_json_lines_hold_the_share_of_the_run_and_the_time_left(clock, capsys):
    lines = Lines(RunEstimate(PLAN, clock))
    stages = Stages(lines)
    begin_output(stages, 1, 2)
    stages.stage("computing", 4)
    for _ in range(4):
        clock.now += 10.0
        stages.advance()
    begin_output(Silent(), 1, 2)
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert events[0] == {"event": "stage", "stage": "computing", "total": 4, "run": 0.05}
    assert (events[1]["run"], events[1]["seconds_left"]) == (0.15, None)
    assert events[-1] == {
        "event": "progress", "stage": "computing", "done": 4, "total": 4, "run": 0.45,
        "seconds_left": (5 + 40 + 5),
    }  # fmt: skip


def test_the_terminal_shows_one_bar_with_the_stage_in_words(clock):
    out = io.StringIO()
    bar = Bar(RunEstimate(PLAN, clock), out)
    bar.stage("reading", 2)
    bar.advance()
    bar.note("[bold]a note")
    bar.stage("computing", 10)
    for _ in range(5):
        clock.now += 60.0
        bar.advance()
    bar._bar.refresh()
    bar.warn("a warning")
    bar.close()
    text = out.getvalue()
    assert "Computing" in text and "50 %" in text and "about 6 min left" in text
    assert "[bold]a note" in text and "warning: a warning" in text
    assert text.rpartition("\r")[2] == "", "the bar is gone at the end"
    assert not text.split("\r")[-2].strip()


@pytest.mark.parametrize("encoding", ["cp932", "cp1251", "latin-1"])
def test_a_console_without_the_character_gets_the_nearest(
    encoding, tmp_path, make_raster, monkeypatch
):
    image = np.zeros((1, 20, 20), np.uint8)
    image[0, 2:9, 2:9] = 1
    source = make_raster(tmp_path / "mask.tif", image=image)
    printed = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(printed, encoding=encoding))
    with pytest.raises(SystemExit) as stop:
        main(["polygonize", str(source), "-o", str(tmp_path / "b.gpkg"), "--progress", "none"])
    sys.stdout.flush()
    assert stop.value.code == 0
    text = printed.getvalue().decode(encoding)
    assert text.endswith("m²\n" if encoding == "latin-1" else "m2\n")
