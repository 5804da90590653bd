"""dbt: one model's task in the project as it is and in one of 500 models, its manifest in memory."""

from __future__ import annotations

import json
from functools import partial

from benchmarks.bench import PASSWORD, Goal, Result, Servers
from benchmarks.grown import Grown, grown
from benchmarks.marts import load_day
from benchmarks.measure import Took, Way, in_turn, of
from include.pipeline import steps
from include.pipeline.model import load_source, source_names
from include.warehouse.load import create_table

MOST_MODELS = 500
_TASK = "staging.stg_openweather__observations"


def run(servers: Servers, *, rows: int, rounds: int, peer_rounds: int) -> Result:  # noqa: ARG001 - one face for all
    """Measure; there are at most as many models as rows, or those that there are."""
    servers.warehouse()
    for source in map(load_source, source_names()):
        for entity in source.entities:
            create_table(servers.dsn("sluice_loader"), steps.raw_table(source, entity))
    landing_id = load_day(servers, "warehouse", 0)
    projects = [
        grown(servers.folder / "as_it_is"),
        grown(servers.folder / "grown", models=min(rows, MOST_MODELS)),
    ]
    took = in_turn(
        [Way(name, partial(_task, servers, one, landing_id)) for one in projects for name in [_name(one)]], rounds
    )
    last = took[_name(projects[-1])]
    return Result(
        f"`{_TASK}`, a view and its tests, as its task runs it in a fork of a process that holds the manifest. Its own "
        "time is what dbt says of its nodes; the rest is overhead.",
        ["project", "s", "its own s", "overhead s", "CPU s", "rounds"],
        [
            [
                name,
                f"{of(runs, lambda one: one.seconds) or 0:.2f}",
                f"{of(runs, lambda one: one.returned or 0) or 0:.2f}",
                f"{of(runs, _overhead) or 0:.2f}",
                f"{of(runs, lambda one: one.client) or 0:.2f}",
                str(len(runs)),
            ]
            for name, runs in took.items()
        ],
        [Goal(f"overhead in a project of {projects[-1].models} models, seconds", of(last, _overhead), at_most=1)],
    )


def _name(project: Grown) -> str:
    return f"{project.models} models{'' if project.folder.name == 'grown' else ', as it is'}"


def _overhead(one: Took) -> float:
    return one.seconds - (one.returned or 0)


def _task(servers: Servers, project: Grown, landing_id: int) -> Took:
    connection = {
        "conn_type": "postgres",
        "host": servers.postgres.host,
        "port": servers.postgres.port,
        "login": "sluice_transformer",
        "password": PASSWORD,
        "schema": "warehouse",
    }
    return servers.clock.measure_apart(
        "benchmarks.airflow_work:build_model",
        {"dag_id": "openweather", "task_id": _TASK, "landing_ids": str(landing_id)},
        env=project.env | {"AIRFLOW_CONN_SLUICE_TRANSFORMER": json.dumps(connection), "SLUICE_WARM": "1"},
        cwd=project.folder,
    )
