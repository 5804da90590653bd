"""A source folder -> its DAG: land, raw, staging, marts, publish, with a gate behind each layer.

The tasks here say which connection and which rows; what is done is in `steps` and in the rooms it calls.
"""

from __future__ import annotations

import functools
import json
import logging
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, Literal

from airflow.sdk import (
    DAG,
    Asset,
    AssetAll,
    AssetAny,
    AssetOrTimeSchedule,
    CronTriggerTimetable,
    Param,
    TaskGroup,
    Variable,
    get_current_context,
    task,
)
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException
from airflow.utils.types import DagRunType
from cosmos import DbtTaskGroup, ExecutionConfig, ProjectConfig, RenderConfig
from cosmos.constants import InvocationMode, LoadMode, TestBehavior

from include.extract.api_up import ApiUpSensor
from include.gates import GatesError, load_gates
from include.notify import callbacks
from include.pipeline import arrivals, lineage
from include.pipeline.at_work import at_work
from include.pipeline.dbt_profile import profile_config
from include.pipeline.manifest import part_of, read_project_once
from include.pipeline.model import SOURCES, Assets, Entity, Source, SourceError, Timetable, load_source, source_names
from include.pipeline.model import Param as ParamOf
from include.pipeline.partition import PartitionRange, RunPartition, partition_of_run, partitions_of_replay

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.gates import Verdict
    from include.gates.rules import LayerName
    from include.pipeline.steps import Landing
    from include.warehouse.fence import Fence

log = logging.getLogger(__name__)

PROJECT = Path(__file__).resolve().parents[2]
DBT_PROJECT = Path(os.environ.get("SLUICE_DBT_PROJECT_DIR", PROJECT / "dbt_project"))
DBT_MANIFEST = Path(os.environ.get("SLUICE_DBT_MANIFEST", DBT_PROJECT / "target" / "manifest.json"))
DOCS_URI = os.environ.get("SLUICE_DOCS_URI", (PROJECT / ".sluice" / "docs").as_uri())
# Airflow's own pool is there on any installation; a task in one that is not waits for ever
FETCH_POOL = os.environ.get("SLUICE_FETCH_POOL", "default_pool")
LOAD_POOL = os.environ.get("SLUICE_LOAD_POOL", "default_pool")
LAKE_DATABASE = os.environ.get("SLUICE_LAKE_DATABASE")
"""of the Glue catalogue; without it there is no lake, and no task that exports to one"""
LANDED = "gate_landing"
"""the task whose XCom says what the run landed"""

_TURN_SECONDS = 15
"""between two looks whether the turn is free; the first look is at once"""
_ANY_LOADED = "none_failed_min_one_success"


def build_dags(only: str | None = None) -> tuple[dict[str, DAG], dict[str, str]]:
    """The DAGs of all source folders; one that is wrong takes no other with it.

    Args:
        only: the one folder to build (a worker wants no other), or None for all.

    Returns:
        The DAGs by name, and the faults by the name of the folder that has no DAG for them.
    """
    dags: dict[str, DAG] = {}
    faults: dict[str, str] = {}
    for name in source_names():
        if only not in (None, name):
            continue
        try:
            dags[name] = build_dag(name)
        except (SourceError, GatesError) as fault:
            faults[name] = str(fault)
        except Exception as fault:
            faults[name] = f"include/sources/{name}: {type(fault).__name__}: {fault}"
    return dags, faults


@functools.cache  # which processes inherit that are forked from one that has built it (local/warm.py)
def build_dag(name: str) -> DAG:
    """The DAG of a source folder.

    Raises:
        SourceError: its `source.yml` is wrong.
        GatesError: its `gates.yml` is.
    """
    source = load_source(name)
    load_gates(SOURCES / name / "gates.yml")
    told = callbacks(source.notify.model_dump(), source=source.name)
    with DAG(
        dag_id=source.name,
        auto_register=False,
        description=source.description,
        doc_md=_doc_md(source),
        schedule=_schedule(source),
        # with a start date Airflow would make up for the last run it missed, at once, even without catchup
        start_date=source.start_date and datetime.combine(source.start_date, time(tzinfo=UTC)),
        catchup=source.catchup,
        max_active_runs=1,
        tags=["source", *source.tags],
        user_defined_macros={"is_arrival": arrivals.is_arrival},
        default_args={
            "owner": source.owner,
            "retries": source.retries,
            "retry_delay": timedelta(seconds=source.retry_delay_seconds),
            "retry_exponential_backoff": source.retry_exponentially,
            "max_retry_delay": timedelta(hours=1),
            "execution_timeout": source.task_timeout_minutes and timedelta(minutes=source.task_timeout_minutes),
            **({"queue": source.queue} if source.queue else {}),
            **told.of_tasks,
        },
        **told.of_dag,
    ) as dag:
        with TaskGroup("landing", tooltip="Fetched and stored in S3 as it came"):
            fetched = {
                name: _fetch.override(
                    task_id=f"fetch_{name}",
                    trigger_rule=_trigger_rule(entity),
                    pool=source.pools.fetch or FETCH_POOL,
                )(source.name, name)
                for name, entity in source.entities.items()
            }
        landed = _gate_landing.override(task_id=LANDED, trigger_rule=_rule_of_gate(source))(
            source.name, list(fetched.values())
        )
        with TaskGroup("raw", tooltip="Loaded as it came, with its lineage") as raw:
            for name in source.entities:
                _load.override(task_id=f"load_{name}", pool=source.pools.load or LOAD_POOL)(source.name, name)
        gate_raw = _gate.override(task_id="gate_raw", trigger_rule=_ANY_LOADED)(source.name, "raw")
        turn = _await_turn.override(task_id="await_turn")(source.name)
        staging = _models("staging", source, source.dbt.staging)
        gate_staging = _gate.override(task_id="gate_staging")(source.name, "staging")
        marts = _models("marts", source, source.dbt.marts)
        gate_marts = _gate.override(task_id="gate_marts")(source.name, "marts")
        publish = _publish.override(
            task_id="publish", outlets=[Asset(name=f"analytics_{source.name}", uri=f"sluice://analytics/{source.name}")]
        )(source.name)
        for name, entity in source.entities.items():
            for parent in entity.parents:
                fetched[parent] >> fetched[name]
        if source.check:
            check = ApiUpSensor(
                task_id="check_api",
                connection_id=source.connection,
                path=source.check,
                timeout=source.check_timeout_seconds,
                unless="{{ params.from_landing or params.redrive or is_arrival(dag_run, triggering_asset_events) }}",
            )
            check >> [task for name, task in fetched.items() if source.entities[name].request]
        landed >> raw >> gate_raw >> turn >> staging >> gate_staging >> marts >> gate_marts >> publish
        if LAKE_DATABASE:
            # of a run with nothing new too: what an export before has missed is made up for
            publish >> _export_lake.override(task_id="export_lake", trigger_rule="none_failed")(source.name)
        if source.mirror:
            publish >> _mirror_redshift.override(task_id="mirror_redshift", trigger_rule="none_failed")(source.name)
    # only now: each task would have a copy of its own, which Airflow validates several times a parse, and a run takes
    # the DAG's where a task has none
    dag.params = _params(source)  # type: ignore[assignment] # attrs converts it
    return dag


@task
@at_work
def _fetch(source_name: str, entity: str) -> list[Any]:
    """Fetch and land one entity; in a run from landings, find those that are asked for instead."""
    from include.extract import ApiClient, KeyRefused
    from include.pipeline import connections, held, steps

    source, context = load_source(source_name), get_current_context()
    params = run_params(source, context)
    partition, run = _partition(source, entity, context), context["dag_run"]
    store, dsn = connections.landing_store(), connections.warehouse_dsn(connections.LOADER)
    try:
        if params["until"] and not params["from_landing"]:
            raise AirflowFailException("until is for runs from landings: give from_landing too, or run `backfill`")
        if params["all_landings"] and not params["from_landing"]:
            raise AirflowFailException("all_landings is for runs from landings: give from_landing too")
        if params["redrive"]:
            only, landing_id = params["redrive_entity"], params["redrive_landing"]
            found = held.to_redrive(source, entity, dsn=dsn, only=only, landing_id=landing_id)
            return lineage.fetched(found, is_replay=True)
        if params["from_landing"]:
            asked = _partitions_of_replay(source, entity, params, partition)
            found = steps.fetched_before(source, entity, asked, params, store=store, dsn=dsn)
            return lineage.fetched(found, is_replay=True)
        if source.entities[entity].files:
            landing = steps.fetch_files(
                source, entity, partition, params, store=store, dsn=dsn, run_id=context["run_id"]
            )
            return lineage.fetched([landing])
        is_of_one = params["date"] or run.run_type == "backfill"
        dropped = steps.fetch_stand_ins(
            source, entity, partition if is_of_one else None, store=store, dsn=dsn, run_id=context["run_id"]
        )
        lineage.fetched(dropped)
        is_arrival = arrivals.is_arrival(run, context["triggering_asset_events"])
        if not steps.is_left_to_ask(source, entity, partition, dropped, is_arrival=is_arrival, dsn=dsn):
            if not dropped:
                raise steps.NothingToDo(f"{entity}: no new file, and a run of files that have arrived asks no API")
            return dropped
        try:
            with ApiClient(connections.api_of(source)) as client:
                landing = steps.fetch(
                    source,
                    entity,
                    partition,
                    params,
                    client=client,
                    store=store,
                    dsn=dsn,
                    run_id=context["run_id"],
                    is_whole=not set(source.params) & set(run.conf or {}),
                )
        except steps.NothingToDo as reason:
            if not dropped:
                raise
            log.info("skipped: %s", reason)
            return dropped
        return [*dropped, *lineage.fetched([landing])]
    except steps.NothingToDo as reason:
        raise _skip(reason) from None
    except (KeyRefused, steps.FetchError) as fault:  # asking again would give the same
        raise AirflowFailException(str(fault)) from None


@task
@at_work
def _gate_landing(source_name: str, fetched: Sequence[Sequence[Landing] | None]) -> dict[str, Any]:
    """Gate what was landed, and tell the tasks behind what the run is about."""
    from include.pipeline import connections, steps

    source, params = load_source(source_name), get_current_context()["params"]
    store, dsn = connections.landing_store(), connections.warehouse_dsn(connections.LOADER)
    own = [landing for of_entity in fetched for landing in of_entity or ()]
    landed = steps.with_pending(source, own, store=store, dsn=dsn)
    if not landed or (steps.only_lookups(source, landed) and not params["redrive"]):
        raise _skip("nothing new to load; the skipped fetch tasks say why")
    lineage.report(reads=lineage.landing_uris(landed))
    landed, verdict = steps.gate_landing(
        source,
        load_gates(SOURCES / source_name / "gates.yml"),
        landed,
        store=store,
        dsn=dsn,
        is_replay=params["from_landing"],
    )
    _conclude(verdict, source_name, "landing", landed)
    return {"landings": landed, "landing_ids": ",".join(str(landing["landing_id"]) for landing in landed)}


@task
@at_work
def _load(source_name: str, entity: str) -> int:
    """Load the run's landings of an entity into raw; without one, see that its table is there."""
    from include.landing import LandingError
    from include.pipeline import connections, steps

    source, landed = load_source(source_name), _landings()
    if own := [landing for landing in landed if landing["entity"] == entity]:
        # by both names: OpenLineage's reader of dbt's artifacts calls a source by its name in dbt, the entity
        written = lineage.table_uris(connections.LOADER, "raw", [source.table(entity), entity])
        lineage.report(reads=lineage.landing_uris(own), writes=written)
    dsn = connections.warehouse_dsn(connections.LOADER)
    try:
        return steps.load(
            source,
            entity,
            landed,
            store=connections.landing_store(),
            dsn=dsn,
            run_id=get_current_context()["run_id"],
            fence=_fence(dsn),
        )
    except steps.NothingToDo as reason:
        raise _skip(reason) from None
    except LandingError as fault:  # what is landed does not change
        raise AirflowFailException(str(fault)) from None


@task
@at_work
def _gate(source_name: str, layer: LayerName) -> None:
    """Gate the run's rows of one layer inside the warehouse; what a rule says so of goes to quarantine."""
    from include.pipeline import connections, held

    gate, landings = load_gates(SOURCES / source_name / "gates.yml").layer(layer), _landings()
    loader_dsn = connections.warehouse_dsn(connections.LOADER)
    verdict = held.judge(
        gate,
        layer,
        landings,
        gate_dsn=connections.warehouse_dsn(connections.GATE),
        loader_dsn=loader_dsn,
        dag_run_id=get_current_context()["run_id"],
        fence=_fence(loader_dsn) if held.holds_rows(gate) else None,
    )
    judged = [result.table for result in verdict.results]
    lineage.report(reads=lineage.table_uris(connections.GATE, layer, judged))
    _conclude(verdict, source_name, layer, landings)


@task.sensor(mode="reschedule", poke_interval=_TURN_SECONDS, timeout=timedelta(days=7).total_seconds())
@at_work
def _await_turn(source_name: str) -> bool:
    """Wait until no other run builds the models of the source: backfills run beside the schedule and themselves."""
    from include.pipeline import connections
    from include.warehouse.turn import take

    context = get_current_context()

    def is_running(dag_run_id: str) -> bool:
        ti = context["ti"]
        return bool(ti.get_dr_count(dag_id=ti.dag_id, run_ids=[dag_run_id], states=["running"]))

    holder = take(connections.warehouse_dsn(connections.LOADER), source_name, context["run_id"], is_running=is_running)
    if holder:
        log.info("turn source=%s held_by=%s: waiting", source_name, holder)
    return holder is None


def _holds_turn(context: Context) -> None:
    """Before each model: that another run has not begun to build, as it may when tasks of an ended run are cleared."""
    from include.pipeline import connections
    from include.warehouse.session import open_session
    from include.warehouse.turn import NotMyTurn, check

    try:
        with open_session(connections.warehouse_dsn(connections.LOADER)) as session:
            check(session, context["dag"].dag_id, context["run_id"])
    except NotMyTurn as fault:  # it would not be at the next try either
        raise AirflowFailException(str(fault)) from None


@task
@at_work
def _publish(source_name: str) -> dict[str, list[int]]:
    """Move the run's changes of all the source's marts to `analytics`, in one transaction."""
    from include.pipeline import connections
    from include.warehouse.publish import marts, publish
    from include.warehouse.turn import NotMyTurn, check

    dsn, run_id = connections.warehouse_dsn(connections.PUBLISHER), get_current_context()["run_id"]
    try:
        done = publish(
            dsn,
            marts(DBT_MANIFEST, tag=source_name),
            source=source_name,
            dag_run_id=run_id,
            landing_ids=[landing["landing_id"] for landing in _landings()],
            turn=lambda session: check(session, source_name, run_id),
            fence=_fence(dsn),
        )
    except NotMyTurn as fault:  # it would not be at the next try either
        raise AirflowFailException(str(fault)) from None
    models = [one.model for one in done]
    lineage.report(
        reads=lineage.table_uris(connections.PUBLISHER, "marts", models),
        writes=lineage.table_uris(connections.PUBLISHER, "analytics", models),
    )
    return {one.model: [one.rows_deleted, one.rows_inserted] for one in done}


@task
@at_work
def _export_lake(source_name: str) -> dict[str, dict[str, int]]:
    """Bring what has changed of the source's published marts to the lake, and register its published landings."""
    from include.lake import LakeError
    from include.pipeline import connections
    from include.pipeline.lake import export_marts, register_landings
    from include.warehouse.exports import ExportError
    from include.warehouse.publish import marts

    lake = connections.lake()
    try:
        done = export_marts(lake, marts(DBT_MANIFEST, tag=source_name))
        landed = register_landings(lake, load_source(source_name))
    except (ExportError, LakeError) as fault:
        raise AirflowException(str(fault)) from None
    lineage.report(
        reads=lineage.table_uris(connections.REPORTER, "analytics", done),
        writes=[lake.bucket.uri(f"lake/{name}") for name in done],
    )
    return {
        **{name: {"slices": one.slices, "rows": one.rows, "bytes": one.bytes} for name, one in done.items()},
        **{f"landing_{name}": {"new": new} for name, new in landed.items()},
    }


@task
@at_work
def _mirror_redshift(source_name: str) -> dict[str, int]:
    """Copy what has changed of the source's published marts to Redshift, in one transaction; rows of each."""
    from include.pipeline import connections
    from include.pipeline.mirror import mirror_marts
    from include.warehouse.exports import ExportError
    from include.warehouse.mirror import MirrorError
    from include.warehouse.publish import marts

    try:
        done = mirror_marts(connections.mirror(), source_name, marts(DBT_MANIFEST, tag=source_name))
    except (ExportError, MirrorError) as fault:
        raise AirflowException(str(fault)) from None
    lineage.report(reads=lineage.table_uris(connections.REPORTER, "analytics", done))
    return done


def _models(layer: Literal["staging", "marts"], source: Source, select: str | None) -> DbtTaskGroup:
    """The dbt models of a layer, by default the source's own; each with its tests as one task, named as the model."""
    own = {"staging": f"path:models/staging/{source.name}", "marts": f"path:models/marts,tag:{source.name}"}
    read_project_once()
    project = ProjectConfig(
        dbt_project_path=DBT_PROJECT, manifest_path=DBT_MANIFEST, install_dbt_deps=False, project_name="sluice"
    )
    if select is None:
        project.manifest_path = part_of(DBT_MANIFEST, source.name)
    return DbtTaskGroup(
        group_id=layer,
        project_config=project,
        profile_config=profile_config(),
        execution_config=ExecutionConfig(invocation_mode=InvocationMode.DBT_RUNNER),
        render_config=RenderConfig(
            load_method=LoadMode.DBT_MANIFEST,
            select=[select or own[layer]],
            test_behavior=TestBehavior.BUILD,
            emit_datasets=False,
            normalize_task_id=lambda node: node.name,
            normalize_task_display_name=lambda node: node.name,
        ),
        operator_args={
            "vars": {"landing_ids": f"{{{{ ti.xcom_pull(task_ids='{LANDED}')['landing_ids'] }}}}"},
            "append_env": True,
            "pre_execute": _holds_turn,
            # unit tests are about code, not about this run's rows: they run in tests/dbt
            "dbt_cmd_flags": ["--exclude-resource-type", "unit_test"],
            "dbt_cmd_global_flags": [
                # of one model dbt looks up the one schema that it is in, not what is in all of them and hangs together
                "--no-populate-cache",
                # nothing but OpenLineage reads what dbt writes of a run, its whole manifest with it
                *([] if lineage.is_told() else ["--no-write-json"]),
            ],
        },
    )


def _fence(dsn: str) -> Fence:
    """This try of the task, entered: what an earlier one still does is committed no more."""
    from include.warehouse.fence import Fence

    ti = get_current_context()["ti"]
    fence = Fence(f"{ti.dag_id}/{ti.run_id}/{ti.task_id}", ti.try_number)
    fence.enter(dsn)
    return fence


def _landings() -> list[Landing]:
    """What the run landed. Pulled, not passed: an edge to every task behind would hide the way in the graph."""
    landed: dict[str, Any] = get_current_context()["ti"].xcom_pull(task_ids=LANDED)
    return list(landed["landings"])


def _conclude(verdict: Verdict, source_name: str, layer: LayerName, landed: Sequence[Landing]) -> None:
    """Show the verdict, record it, and fail the task if it failed."""
    from include.gates import GateFailed
    from include.pipeline import connections, verdicts

    log.info("gate source=%s layer=%s\n%s", source_name, layer, verdict.table())
    verdicts.keep(
        connections.warehouse_dsn(connections.GATE),
        verdict,
        source=source_name,
        layer=layer,
        dag_run_id=get_current_context()["run_id"],
        landing_ids=[landing["landing_id"] for landing in landed],
        docs_uri=DOCS_URI,
        s3=connections.s3_client() if DOCS_URI.startswith("s3://") else None,
    )
    try:
        verdict.raise_if_failed(source_name, layer)
    except GateFailed as failure:  # the same rows would fail again
        raise AirflowFailException(str(failure)) from None


def _skip(reason: object) -> AirflowSkipException:
    log.info("skipped: %s", reason)
    return AirflowSkipException(str(reason))


def _partition(source: Source, entity: str, context: Mapping[str, Any]) -> RunPartition:
    run = context["dag_run"]
    return partition_of_run(
        source.partition_of(entity),
        asked=context["params"]["date"],
        logical_date=run.logical_date,
        run_after=run.run_after,
        is_scheduled=run.run_type == DagRunType.SCHEDULED,
        is_backfill=run.run_type == DagRunType.BACKFILL_JOB,
    )


def _partitions_of_replay(
    source: Source, entity: str, params: Mapping[str, Any], of_run: RunPartition
) -> PartitionRange:
    return partitions_of_replay(
        source.partition_of(entity),
        asked=params["date"],
        until=params["until"],
        everything=params["all_landings"],
        of_run=of_run,
    )


def _schedule(source: Source) -> object:
    """What the DAG is scheduled by: what its `source.yml` says and, where it takes dropped files, their arrival."""
    arrived = arrivals.arrived(source.name) if any(entity.drop for entity in source.entities.values()) else None
    timetable: Any
    match source.schedule:
        case Timetable(timetable=path, arguments=arguments):
            timetable = resolve_name(path)(**arguments)
        case Assets(assets=names):
            wanted = [Asset.ref(name=name) for name in names]
            return AssetAny(AssetAll(*wanted), arrived) if arrived else wanted
        case None:
            return [arrived] if arrived else None
        case cron:
            # by default a run due a few minutes before a DAG is unpaused would be made up for, beside the one asked for
            timetable = CronTriggerTimetable(cron, timezone="UTC", run_immediately=timedelta(0))
    return AssetOrTimeSchedule(timetable=timetable, assets=[arrived]) if arrived else timetable


def _trigger_rule(entity: Entity) -> str:
    """An entity that asks by another's records goes on where that had nothing new, and files need no API."""
    return "none_failed" if entity.parents else "all_success"


def _rule_of_gate(source: Source) -> str:
    """Where nothing is fetched, landings that an earlier run has left may be waiting, if the source has such."""
    has_pending = any(entity.cursor or entity.drop for entity in source.entities.values())
    return "none_failed" if has_pending else _ANY_LOADED


def run_params(source: Source, context: Mapping[str, Any]) -> dict[str, Any]:
    """The run's parameters: what it was asked with, else the Variable `<source>__<parameter>`, else the default."""
    asked = context["dag_run"].conf or {}
    params = dict(context["params"])
    for name, param in source.params.items():
        if name not in asked:
            values = Variable.get(f"{source.name}__{name}", default=None)
            if values is not None:
                params[name] = _checked(source, name, param, values)
    return params


def _checked(source: Source, name: str, param: ParamOf, text: str) -> list[str]:
    """A Variable's value, if it is what the DAG's form would have taken."""
    variable = f"Variable {source.name}__{name}"
    try:
        values = json.loads(text)
    except ValueError:
        values = None
    if not isinstance(values, list) or not values or not all(isinstance(value, str) for value in values):
        raise AirflowFailException(f'{variable} is not a JSON list of texts such as ["{param.default[0]}"]; correct it')
    if wrong := [value for value in values if param.choices and value not in param.choices]:
        raise AirflowFailException(
            f"{variable}: {wrong[0]!r} is not one of {', '.join(param.choices or ())}; correct it"
        )
    return values


def _params(source: Source) -> dict[str, Param]:
    """The fields of the DAG's form; `--date`, `--from-landing` and `--param` of the launcher set the same."""
    own = {
        name: Param(
            list(param.default),
            type="array",
            minItems=1,
            items={"type": "string"} | ({"enum": list(param.choices)} if param.choices else {}),
            description=param.description,
        )
        for name, param in source.params.items()
    }
    return own | {
        "date": Param(
            None,
            type=["null", "string"],
            format="date",
            description=f"A day in the {source.partition.grain} to load; empty: the newest that should be there.",
        ),
        "until": Param(
            None,
            type=["null", "string"],
            format="date",
            description="With from_landing: the last day to rebuild; empty: the one day of `date`.",
        ),
        "from_landing": Param(
            False, type="boolean", description="Rebuild from what was landed in S3, without calling the API."
        ),
        "all_landings": Param(
            False, type="boolean", description="With from_landing: rebuild from all that was ever landed."
        ),
        "redrive": Param(
            False, type="boolean", description="Load again the landings that have rows in quarantine; fetch nothing."
        ),
        "redrive_entity": Param(
            None,
            type=["null", "string"],
            enum=[None, *source.entities],
            description="With redrive: the landings of this entity alone.",
        ),
        "redrive_landing": Param(
            None, type=["null", "integer"], description="With redrive: this landing alone, by its `_landing_id`."
        ),
    }


def _doc_md(source: Source) -> str:
    """What the DAG's page says: the source's README, with what to do when the DAG fails."""
    readme = SOURCES / source.name / "README.md"
    if readme.is_file():
        return readme.read_text(encoding="utf-8")
    return f"{source.description}\n\nWhen it fails: docs/runbooks/failed-gate.md; readers keep the last good state."
