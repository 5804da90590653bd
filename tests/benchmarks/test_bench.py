"""`./sluice bench`: ways run in turn, ratios of one round, goals told, tables written where they belong."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import BENCHMARKS, DOCUMENT, main, write
from benchmarks.bench import Goal, Result
from benchmarks.measure import Clock, Took, Way, in_turn, of, paired
from benchmarks.peers import installed
from benchmarks.worker import WayError
from include.pipeline.model import source_names
from local.home import PROJECT

RESULT = Result("Ten rows.", ["way", "s"], [["ours", "1.0"]], [Goal("of the limit", 0.95, at_least=0.9)], ["a note"])


def took(seconds: float) -> Took:
    return Took(seconds, client=seconds, server=0)


def test_each_round_begins_with_another_way() -> None:
    """So that none always comes after the one that has filled the caches."""
    order: list[str] = []

    def way(name: str) -> Way:
        def run() -> Took:
            order.append(name)
            return took(1)

        return Way(name, run)

    in_turn([way("a"), way("b"), way("c")], 3)
    assert order == ["a", "b", "c", "b", "c", "a", "c", "a", "b"]


def test_a_ratio_is_the_median_of_those_within_a_round() -> None:
    """A round in which the machine was slow slows both; medians of each for itself would make 2 of it."""
    assert paired([took(2), took(30), took(3)], [took(1), took(10), took(2)]) == 2
    assert paired([took(2), None, None], [took(1), took(10), took(2)]) == 2
    assert paired([None], [took(1)]) is None
    assert of([took(1), None, took(5), took(2)], lambda one: one.seconds) == 2


def test_a_peer_that_fails_is_told_and_left_out_and_any_other_way_ends_the_benchmark() -> None:
    """A row without a peer says why; a row without ourselves would be no benchmark."""

    def fails() -> Took:
        raise WayError("not installed: no uv")

    faults: dict[str, str] = {}
    found = in_turn([Way("ours", lambda: took(1)), Way("peer", fails, is_peer=True)], 2, faults)
    assert faults == {"peer": "not installed: no uv"}
    assert found == {"ours": [took(1), took(1)], "peer": [None, None]}
    with pytest.raises(WayError, match="no uv"):
        in_turn([Way("ours", fails)], 1)


@pytest.mark.parametrize(
    ("goal", "text"),
    [
        (Goal("a", 1.15, at_most=1.15), "met: a: 1.15, at most 1.15"),
        (Goal("a", 1.16, at_most=1.15), "MISSED: a: 1.16, at most 1.15"),
        (Goal("a", 0.9, at_least=0.9), "met: a: 0.90, at least 0.9"),
        (Goal("a", 0.89, at_least=0.9), "MISSED: a: 0.89, at least 0.9"),
        (Goal("a", None, at_least=2), "not measured: a, at least 2"),
    ],
)
def test_a_goal_says_whether_it_is_met(goal: Goal, text: str) -> None:
    assert str(goal) == text


def test_work_apart_is_measured_without_what_prepares_it() -> None:
    """Two seconds of CPU in preparation are not in it, the memory it takes is."""
    code = (
        "import time\n"
        "def grow(size):\n"
        "    end = time.process_time() + 2\n"
        "    while time.process_time() < end: pass\n"
        "    return lambda: len(b'x' * size)\n"
    )
    one = measure_code(code, "grow", {"size": 200_000_000})
    assert one.client < 1.5
    assert one.rss is not None
    assert one.rss_before is not None
    assert one.rss - one.rss_before > 190_000_000


def test_work_apart_that_fails_says_why() -> None:
    """By the end of its traceback."""
    with pytest.raises(WayError, match="there is no table"):
        measure_code("def work():\n    raise ValueError('there is no table')\n", "work", {})


def test_work_apart_tells_a_number_and_finds_the_modules_of_where_it_works(tmp_path: Path) -> None:
    """A copy of the project is measured with its own modules, also beside another copy."""
    clock = Clock()
    try:
        for number in (1, 2):
            shutil.copytree(PROJECT / "benchmarks", tmp_path / str(number) / "benchmarks")
            code = f"print('at import')\ndef work():\n    return lambda: {number}\n"
            (tmp_path / str(number) / "way_of_a_copy.py").write_text(code)
        told = [clock.measure_apart("way_of_a_copy:work", {}, cwd=tmp_path / number).returned for number in ("1", "2")]
    finally:
        clock.close()
    assert told == [1, 2]


def measure_code(code: str, function: str, given: dict[str, int], name: str = "way_of_a_test") -> Took:
    folder = Path(os.environ["PYTEST_SCRATCH"])
    (folder / f"{name}.py").write_text(code)
    clock = Clock()
    try:
        return clock.measure_apart(
            f"{name}:{function}", given, env={"PYTHONPATH": os.pathsep.join([str(PROJECT), str(folder)])}
        )
    finally:
        clock.close()


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where `measure_code` writes."""
    monkeypatch.setenv("PYTEST_SCRATCH", str(tmp_path))


def test_a_peer_that_cannot_be_installed_says_why(tmp_path: Path) -> None:
    """There is no such package, so that nothing is downloaded."""
    with pytest.raises(WayError, match=r"not installed: "):
        installed(tmp_path / "bench", "./no-such-folder")


def test_a_table_is_written_between_its_markers_and_nowhere_else(tmp_path: Path) -> None:
    """Again and again, and what else the document says stays."""
    document = tmp_path / "performance.md"
    document.write_text("before\n<!-- bench load -->\nold\n<!-- end load -->\nafter\n")
    for _ in range(2):
        write(document, "load", RESULT)
    text = document.read_text()
    assert text.startswith("before\n<!-- bench load -->\nTen rows. ")
    assert "| ours | 1.0 |" in text
    assert "- met: of the limit: 0.95, at least 0.9\n- a note\n<!-- end load -->\nafter\n" in text
    assert "old" not in text
    assert text.count("| way") == 1
    with pytest.raises(ValueError, match="markers"):
        write(document, "gate", RESULT)


def test_every_benchmark_has_its_place_in_the_document() -> None:
    text = DOCUMENT.read_text()
    assert [
        name for name in BENCHMARKS if f"<!-- bench {name} -->" not in text or f"<!-- end {name} -->" not in text
    ] == []


def test_without_a_name_they_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in BENCHMARKS)


def test_the_launcher_hands_names_and_options_on() -> None:
    """To the benchmarks' own parser, which refuses what there is not."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "local", "bench", "no-such", "--rows", "10"],
        cwd=PROJECT,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "no-such is none of load, landing," in done.stderr
    assert "./sluice bench" in done.stderr


@pytest.mark.parametrize("option", ["--rows", "--rounds", "--peer-rounds"])
@pytest.mark.parametrize("number", ["0", "-1", "many"])
def test_a_number_that_is_none_is_refused_before_anything_is_started(
    capsys: pytest.CaptureFixture[str], option: str, number: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["load", f"{option}={number}"])
    assert ended.value.code == 2
    assert f"argument {option}: {number} is not a number from 1 on" in capsys.readouterr().err


def test_the_gate_of_a_month_against_an_aggregate_by_hand(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One benchmark from end to end, on servers of its own."""
    monkeypatch.setenv("SLUICE_HOME", str(tmp_path))
    assert main(["gate", "--rows", "500", "--rounds", "1"]) == 0
    assert "| the gate, 12 expectations |" in capsys.readouterr().out
    assert json.dumps(sorted(path.name for path in (tmp_path / "bench").iterdir())) == '["yellow-2024-01-500.parquet"]'


def test_a_project_that_has_grown_is_parsed_and_runs_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    """By one source and a model that were made, on servers of their own."""
    sources, models = len(source_names()) + 1, 60
    assert main(["parse", "--rows", str(sources), "--rounds", "1"]) == 0
    assert re.search(rf"\| DAG processor: all files +\| +{sources} \|", capsys.readouterr().out)
    assert main(["models", "--rows", str(models), "--rounds", "1"]) == 0
    assert re.search(rf"\| {models} models +\|", capsys.readouterr().out)
