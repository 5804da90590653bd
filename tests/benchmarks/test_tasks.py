"""What the benchmark of tasks makes of what it has measured."""

from benchmarks.tasks import Took, dbt_seconds, report


def task(task_id: str, begin: int, end: int) -> dict[str, str]:
    return {
        "task_id": task_id,
        "start_date": f"2026-11-28T05:00:{begin:02}Z",
        "end_date": f"2026-11-28T05:00:{end:02}Z",
    }


def test_dbt_takes_from_the_end_of_what_is_before_a_layer_to_the_layers_end() -> None:
    tasks = [
        task("await_turn", 1, 2),
        task("staging.a", 3, 5),
        task("staging.b", 3, 6),
        task("gate_staging", 7, 8),
        task("marts.fact", 9, 15),
        task("gate_marts", 16, 17),
    ]
    assert dbt_seconds(tasks) == (6 - 2) + (15 - 8)


def test_a_run_stands_beside_one_whose_models_are_one_task() -> None:
    took = [Took(20.0, 11.0, {"dbt: a model and its tests": [(0.7, 0.5), (0.9, 0.6)]})] * 3
    lines = report("openweather", took, warm=[6.0, 5.0, 9.0], cold=[12.0]).splitlines()
    rows = {cells[1]: cells[2:-1] for line in lines if (cells := [cell.strip() for cell in line.split("|")])[1:]}
    assert rows["a task per model"] == ["20.0", "1.33"]
    assert rows["one dbt build, warm"] == ["15.0", "1.00"]
    assert rows["one dbt build, cold"] == ["21.0", "1.40"]
    assert rows["dbt: a model and its tests"] == ["6", "0.80", "0.55"]
    assert "- met: seconds of a dbt task: 0.80, at most 0.8" in lines
    assert any(line.startswith("- not measured: seconds of a gate") for line in lines)
