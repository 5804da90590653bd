"""dbt: a day of weather into a fact of 1 to 720 days, its model and tests as the pipeline runs them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from dbt.cli.main import dbtRunner

from benchmarks.bench import PASSWORD, Result, Servers
from benchmarks.measure import Took, Way, in_turn
from benchmarks.ours import store
from benchmarks.rerun import flat
from benchmarks.worker import WayError
from include.pipeline import steps
from include.pipeline.model import load_source, source_names
from include.pipeline.rebuild import environment
from include.warehouse.load import create_table
from local.home import PROJECT
from local.sandbox.weather import HOUR, Place, observe

HISTORIES = (1, 90, 720)
_CITIES, _HOURS = 20, 24
_FIRST_DAY = 1_704_067_200  # 2024-01-01, UTC
_runs = itertools.count()
_manifests: dict[str, Any] = {}


def run(servers: Servers, *, rows: int, rounds: int, peer_rounds: int) -> Result:  # noqa: ARG001 - one face for all
    """Measure."""
    for history in HISTORIES:
        database = servers.warehouse(f"of_{history}")
        for source in map(load_source, source_names()):
            for entity in source.entities:
                create_table(servers.dsn("sluice_loader", database), steps.raw_table(source, entity))
        _build(servers, database, [load_day(servers, database, day) for day in range(history)])
        servers.vacuum("marts.fact_weather_observation", database)

    def of_day(database: str, history: int) -> Took:
        landing_id = load_day(servers, database, history)  # the same day again, from the second round on
        return servers.clock.measure(lambda: _build(servers, database, [landing_id]))

    took = in_turn([Way(f"{history} days", partial(of_day, f"of_{history}", history)) for history in HISTORIES], rounds)
    return flat(
        f"A day of {_CITIES * _HOURS} observations into staging and marts, 15 models with their tests in one "
        "`dbt build` with the manifest in memory.",
        took,
        "a day into 720, of that into 1",
        at_most=1.2,
    )


def load_day(servers: Servers, database: str, day: int) -> int:
    """Land a day of weather and load it into raw; the landing's id."""
    places = [Place(1_000 + at, f"City {at}", "NO", at + 40, at, at, None) for at in range(_CITIES)]
    with store(**servers.s3.__dict__).begin(
        source="openweather",
        entity="observations",
        partition=f"{day:05d}",
        run_id=f"{database}-{next(_runs)}",
        format="json",
    ) as writer:
        for hour, place in itertools.product(range(_HOURS), places):
            payload = observe(place, _FIRST_DAY + (day * _HOURS + hour) * HOUR, 0)
            writer.add_document(json.dumps(payload).encode(), values={"city": place.name})
        manifest = writer.commit({})
    dsn = servers.dsn("sluice_loader", database)
    steps.book(dsn, manifest)
    landing = steps.Landing(
        landing_id=manifest.landing_id, entity=manifest.entity, partition=manifest.partition, uri=manifest.uri
    )
    steps.load(load_source("openweather"), "observations", [landing], store=servers.store, dsn=dsn)
    return manifest.landing_id


def _build(servers: Servers, database: str, landing_ids: Sequence[int]) -> None:
    """`dbt build` of the source's models for some landings, with the manifest in memory as a warm worker holds it."""
    connection = {
        "SLUICE_DBT_HOST": servers.postgres.host,
        "SLUICE_DBT_PORT": str(servers.postgres.port),
        "SLUICE_DBT_USER": "sluice_transformer",
        "SLUICE_DBT_PASSWORD": PASSWORD,
        "SLUICE_DBT_DBNAME": database,
    }
    target = servers.folder / f"dbt_{database}"
    with environment(connection):
        if database not in _manifests:
            _manifests[database] = _invoke(None, target, "parse").result
        listed = json.dumps({"landing_ids": ",".join(map(str, landing_ids))})
        _invoke(
            _manifests[database].deepcopy(),
            target,
            *("build", "--select", "tag:openweather", "--exclude-resource-type", "unit_test", "--vars", listed),
        )


def _invoke(manifest: Any, target: Path, *arguments: str) -> Any:  # noqa: ANN401 - dbt has no types
    project = str(PROJECT / "dbt_project")
    places = ["--project-dir", project, "--profiles-dir", project, "--target-path", str(target)]
    places += ["--log-path", str(target), "--quiet", "--no-use-colors"]
    done = dbtRunner(manifest=manifest).invoke([*arguments, *places])
    if not done.success:
        results = getattr(done.result, "results", None) or []
        faults = [f"{one.node.name}: {one.message}" for one in results if one.status in ("error", "fail")]
        raise WayError(f"dbt {arguments[0]}: {done.exception or '; '.join(faults)}")
    return done
