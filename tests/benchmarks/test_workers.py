"""What the benchmark of workers makes of what it has measured, and that it fails when it should."""

from benchmarks.workers import Took, faults_of, medians, report


def took(wall_seconds: float, by_worker: dict[str, int], failed: tuple[str, ...] = ()) -> Took:
    return Took(wall_seconds, {"dbt": [(1, 0.7), (9, 0.9), (2, 0.8)]}, by_worker, 900_000_000, 1.5, failed)


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_two_workers_stand_beside_one_and_cold_beside_warm() -> None:
    together = {1: took(100, {"worker-1": 90}), 2: took(60, {"worker-2": 40, "worker-1": 50})}
    lines = report(together, {"warm": took(20, {}), "cold": took(80, {})}).splitlines()
    (two,) = (cells(line) for line in lines if line.startswith("| 2 "))
    assert two[2:] == ["60.0", "0.60", "50 + 40", "900"]
    assert cells(lines[-1]) == ["cold", "2.0", "0.8", "-", "-", "-", "-"]


def test_what_was_not_measured_has_no_median() -> None:
    assert medians([]) == (None, None)


def test_a_worker_that_runs_nothing_and_a_run_that_fails_are_faults() -> None:
    assert faults_of({1: took(100, {"worker-1": 90})}) == []
    assert faults_of({2: took(100, {"worker-1": 90}, ("tlc",))}) == [
        "workers 2: the run of tlc has failed",
        "workers 2: tasks were run by worker-1 alone",
    ]
