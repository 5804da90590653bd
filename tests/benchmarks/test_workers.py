"""What the benchmark of workers makes of what it has measured, and that it fails when it should."""

from benchmarks.workers import Measured, Setup, faults_of, report


def measured(setup: Setup, wall_seconds: float, by_worker: dict[str, int], failed: tuple[str, ...] = ()) -> Measured:
    return Measured(setup, wall_seconds, {"dbt": [(1, 0.7), (9, 0.9), (2, 0.8)]}, by_worker, 900_000_000, 1.5, failed)


ONE = measured(Setup("one", 1), 100, {"worker-1": 90})


def test_a_set_up_stands_beside_the_first_one_with_the_medians_of_its_tasks() -> None:
    two = measured(Setup("two", 2), 60, {"worker-2": 40, "worker-1": 50})
    *_, header, _, _, row = report([ONE, two]).splitlines()
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert [cell.strip() for cell in header.strip("|").split("|")][2:7] == ["s", "s/one", "dbt: s", "CPU s", "gate: s"]
    assert cells[0] == "two"
    assert cells[2:] == ["60.0", "0.60", "2.0", "0.8", "-", "-", "-", "-", "50 + 40", "900"]


def test_a_worker_that_runs_nothing_and_a_run_that_fails_are_faults() -> None:
    assert faults_of(ONE) == []
    assert faults_of(measured(Setup("two", 2), 100, {"worker-1": 90}, ("tlc",))) == [
        "two: the run of tlc has failed",
        "two: of 2 workers tasks were run by worker-1 alone",
    ]
