"""What the benchmark of an unchanged rerun makes of the tasks that it has seen, and that it fails when it should."""

from benchmarks.processes import Seen, Watched
from benchmarks.unchanged import Task, faults_of, report, tasks_of
from local.runs import Run

FIRST = [
    Task("tlc", "landing.fetch_zones", "success", 1.0),
    Task("tlc", "publish", "success", 3.0),
    Task("x", "landing.fetch_posts", "success", 2.0),
    Task("x", "publish", "success", 4.0),
]
AGAIN = [
    Task("tlc", "landing.fetch_zones", "skipped", 0.4),
    Task("tlc", "publish", "skipped", None),
    Task("x", "landing.fetch_posts", "success", 1.8),
    Task("x", "publish", "success", 3.0),
]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_skipped_task_that_ran_counts_and_one_that_never_started_has_no_seconds() -> None:
    """Both are skipped to Airflow; what the one has used to find out is what a rerun costs."""
    run = Run("tlc", "again", tasks=[{"task_id": name, "id": name, "state": "skipped"} for name in ("gate", "load")])
    watched = Watched({(1, 0.0): Seen("scheduler", "airflow worker -- gate", 0, 1, cpu_seconds=0.3)})
    assert tasks_of(run, watched) == [Task("tlc", "gate", "skipped", 0.3), Task("tlc", "load", "skipped", None)]


def test_each_source_stands_with_its_share_of_the_first_time_and_all_of_them_together() -> None:
    lines = report([FIRST, AGAIN]).splitlines()
    rows = {found[0]: found[1:] for line in lines if line.startswith("|") and (found := cells(line))}
    assert rows["tlc"] == ["2", "4.0", "1", "0.4", "0.10"]
    assert rows["x"] == ["2", "6.0", "2", "4.8", "0.80"]
    assert rows["together"] == ["4", "10.0", "3", "5.2", "0.52"]
    assert rows["x: publish"] == ["success", "3.00", "4.00"]
    assert "tlc: publish" not in rows
    assert lines[-1].startswith("- MISSED: CPU seconds of the 2. time, of the first: 0.52")


def test_a_task_that_failed_and_a_source_that_published_nothing_are_faults() -> None:
    assert faults_of([FIRST, AGAIN]) == []
    failed = Task("x", "publish", "upstream_failed", None)
    assert faults_of([[*FIRST[:3], failed], AGAIN]) == [
        "x: publish ended as upstream_failed, the 1. time",
        "x has published nothing, the first time",
    ]
