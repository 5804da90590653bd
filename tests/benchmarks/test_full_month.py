"""What the benchmark makes of a run that it has watched, and that it fails when it should."""

from collections.abc import Callable

import pytest

from benchmarks.full_month import LAYERS, Layer, Measured, Task, differing, kind, layers, over_limit
from benchmarks.processes import Seen, Watched
from benchmarks.table import count, megabytes, ratio, seconds, table

MB = 1_000_000
LOAD = "01a1fe25-6926-71b7-bb18-3640c7577448"
GATE = "01a1fe25-6929-7641-9f4f-70437b0f79bd"


def seen(title: str, first: float, last: float, rss: int, *, root: str = "scheduler", cpu_seconds: float = 0) -> Seen:
    return Seen(root, title, first, last, rss=rss, rss_at=(first + last) / 2, cpu_seconds=cpu_seconds)


def measured(*processes: Seen) -> Measured:
    tasks = [
        Task(LOAD, "raw.load_yellow_trips", "success", 100, 130),
        Task("0" * 36, "raw.load_green_trips", "skipped", 95, 96),
        Task(GATE, "gate_raw", "success", 130, 140),
        Task("1" * 36, "publish", "upstream_failed", None, None),
    ]
    watched = Watched({(number, 0.0): process for number, process in enumerate(processes)})
    return Measured("first", "2024-01", tasks, 60, watched, {"raw": 3, "analytics": 3}, 1.0)


def test_a_table_is_markdown_with_its_numbers_to_the_right() -> None:
    """As it will stand in docs/performance.md."""
    assert table(["layer", "s"], [["raw", "9.5"], ["gate_raw", "120"]]) == (
        "| layer    |   s |\n| -------- | --: |\n| raw      | 9.5 |\n| gate_raw | 120 |"
    )


def test_a_row_that_does_not_fit_its_header_is_refused() -> None:
    """Rather than printed beside the column it belongs to."""
    with pytest.raises(ValueError, match=r"shorter|longer"):
        table(["layer", "s"], [["raw"]])


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (lambda: seconds(9.96), "10.0"),
        (lambda: seconds(120.4), "120"),
        (lambda: seconds(None), "-"),
        (lambda: megabytes(414_216_000), "414"),
        (lambda: megabytes(None), "-"),
        (lambda: count(3_000_000), "3,000,000"),
        (lambda: count(None), "-"),
        (lambda: ratio(3, 2), "1.50"),
        (lambda: ratio(3, 0), "-"),
        (lambda: ratio(None, 2), "-"),
    ],
)
def test_a_number_is_shown_with_its_unit_and_a_dash_where_there_is_none(shown: Callable[[], str], text: str) -> None:
    """Unmeasured is not zero."""
    assert shown() == text


def test_a_layer_lasts_from_its_first_tasks_start_to_its_last_ones_end() -> None:
    """Its group's tasks together; a layer that never began has no seconds."""
    found = {layer.name: layer for layer in layers(measured())}
    assert tuple(found) == LAYERS
    assert found["raw"].wall_seconds == 35
    assert found["gate_raw"].wall_seconds == 10
    assert found["publish"] == Layer("publish", None, 0, None, None)


def test_a_layer_has_its_own_tasks_and_the_backends_of_its_time() -> None:
    """Tasks tell which they are; a backend is one's that lived while it did. Airflow's own database is nobody's."""
    load = seen(f"airflow worker -- {LOAD}", 101, 129, 300 * MB, cpu_seconds=8)
    supervisor = seen(f"airflow worker -- LocalExecutor: {LOAD}", 100, 130, 400 * MB, cpu_seconds=1)
    copy = seen("postgres: sluice_loader warehouse 127.0.0.1(5) COPY", 101, 129, 280 * MB, cpu_seconds=16)
    gate = seen("postgres: sluice_gate warehouse 127.0.0.1(6) idle", 131, 139, 270 * MB, cpu_seconds=4)
    helper = seen("postgres: parallel worker for PID 6 ", 132, 133, 90 * MB, cpu_seconds=2)
    metadata = seen("postgres: airflow airflow 127.0.0.1(7) idle", 101, 129, 500 * MB, cpu_seconds=9)
    found = {layer.name: layer for layer in layers(measured(load, supervisor, copy, gate, helper, metadata))}
    assert found["raw"] == Layer("raw", 35, 24, load, copy)
    assert found["gate_raw"] == Layer("gate_raw", 10, 6, None, gate)


@pytest.mark.parametrize(
    ("title", "root", "name"),
    [
        (f"airflow worker -- {LOAD}", "scheduler", "Airflow task"),
        (f"airflow worker -- LocalExecutor: {LOAD}", "scheduler", "Airflow task's supervisor"),
        ("airflow worker -- LocalExecutor: <idle>", "scheduler", "Airflow task's supervisor"),
        ("python -P -m local.scheduler", "scheduler", "scheduler"),
        ("postgres: sluice_gate warehouse 127.0.0.1(6) SELECT", "postgres", "PostgreSQL backend of sluice_gate"),
        ("postgres: airflow airflow 127.0.0.1(7) idle in transaction", "postgres", "PostgreSQL backend of Airflow"),
        ("postgres: parallel worker for PID 6 ", "postgres", "PostgreSQL parallel worker"),
        ("postgres: checkpointer ", "postgres", "PostgreSQL's own"),
        ("python -P -m local run tlc", "launcher", "./sluice run"),
    ],
)
def test_a_process_is_of_the_kind_that_it_says(title: str, root: str, name: str) -> None:
    """Titles as Airflow 3.3 and PostgreSQL 18 set them."""
    assert kind(seen(title, 0, 1, 1, root=root)) == name


def test_a_process_over_a_gigabyte_is_a_fault_that_names_its_task() -> None:
    """One byte more than the limit is over it."""
    fat = seen(f"airflow worker -- {LOAD}", 101, 129, 1000 * MB + 1)
    backend = seen("postgres: sluice_gate warehouse 127.0.0.1(6) SELECT", 131, 139, 1200 * MB)
    fits = seen(f"airflow worker -- {GATE}", 131, 139, 1000 * MB)
    assert over_limit(measured(fat, backend, fits)) == [
        "raw.load_yellow_trips had 1000 MB in memory, over the limit of 1000 MB",
        "PostgreSQL backend of sluice_gate during gate_raw had 1200 MB in memory, over the limit of 1000 MB",
    ]


def test_layers_that_hold_different_rows_are_a_fault_and_equal_ones_none() -> None:
    """Equal to each other is not enough: to what the API gave."""
    assert differing({"raw": 3000, "analytics": 3000}, 3000) == []
    assert differing({"raw": 3000, "analytics": 2999}, 3000) == [
        "of 3,000 rows there are 3,000 in raw, 2,999 in analytics"
    ]
    assert differing({"raw": 2999, "analytics": 2999}, 3000) != []
