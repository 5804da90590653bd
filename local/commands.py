"""What each command of the launcher does."""

import json
import os
import re
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from local import airflow, ports, postgres, report, runs, services, workers
from local.home import PROJECT, Home, LocalError, alone, open_home

HEADER = ("source", "landed", "loaded", "quarantined", "gates", "published", "seconds")


def up(home: Home, *, data: Path | None, run: bool) -> int:
    """Start the stack; run every source once if asked to, and report; say what was published and where to look.

    Returns:
        0 when the stack is ready and, if they were run, all sources are published and the report is mailed.
    """
    begun = time.monotonic()
    with alone(home):
        home = open_home(home.path)  # as another command left it that we waited for
        home.state["data"] = str(data) if data else None
        home.state["workers"], home.state["broker_url"] = workers.asked(), workers.asked_broker()
        services.choose_ports(home)
        workers.check_broker(home)
        services.start_all(home, say=say)
        api = airflow.Api(home)
        airflow.create_pools(api)
        airflow.create_connections(api, home)
        names = runs.sources()
        runs.await_dags(api, names)
        say(f"the stack is ready after {time.monotonic() - begun:.1f} s")
    if not run:
        _urls(home)
        return 0
    started = [runs.trigger(api, name, {}) for name in names]
    runs.follow(api, started, say=say)
    for log in services.cold(home):
        say(f"warning: the workers are cold (no event=warm with cold=none in {log}), so tasks take longer")
    all_published = conclude(home, api, started)
    made = runs.trigger(api, runs.REPORT, {})
    has_docs = _build_docs(home)
    has_report = _is_reported(api, made)
    _urls(home)
    return 0 if all_published and has_docs and has_report else 1


def run(home: Home, source: str, conf: Mapping[str, Any]) -> int:
    """One run of a source, awaited.

    Returns:
        0 when it succeeded, skipped for a reason included.
    """
    api = ready(home, source)
    begun = runs.trigger(api, source, conf)
    runs.follow(api, [begun], say=say)
    conclude(home, api, [begun])
    return 0 if begun.state == "success" else 1


def ready(home: Home, source: str) -> airflow.Api:
    """Airflow, once it has the source's DAG as the source's folder and its models are now.

    Raises:
        LocalError: there is no such source, or Airflow does not run or cannot read the DAG.
    """
    if source not in runs.sources():
        raise LocalError(f"there is no source {source!r}: include/sources has {', '.join(runs.sources())}")
    api = _live(home)
    with alone(home):  # a source or a model may be newer than the stack
        home = open_home(home.path)
        services.parse_dbt(home)
        airflow.create_connections(api, home)
    runs.await_dags(api, [source])
    runs.await_models(api, source, home.dbt_target / "manifest.json")
    return api


def status(home: Home, *, as_json: bool) -> int:
    """What runs, what ran last, what is where.

    Returns:
        0 when every service is ready, else 1.
    """
    state = [
        {
            "service": service.name,
            "running": (started := services.running(home, service)) is not None,
            "ready": started is not None and service.is_ready(home),
            "port": home.ports.get(service.name),
            "pid": started.pid if started else None,
        }
        for service in services.of(home)
    ]
    ready = {str(one["service"]): bool(one["ready"]) for one in state}
    found: dict[str, Any] = {"home": str(home.path), "services": state}
    if ready["postgres"]:
        with_landings = {one["source"]: one for one in report.of_sources(home)}
        last = _last_runs(home) if ready["airflow"] else {}
        found["sources"] = [
            {"source": name, **_without(with_landings.get(name, {}), "source"), "last_run": last.get(name)}
            for name in runs.sources()
        ]
        found["rows"] = report.rows(home)
        found["quarantine"] = report.quarantine(home)
    if as_json:
        print(json.dumps(found, indent=2, default=str))
    else:
        _print_status(found)
    return 0 if all(ready.values()) else 1


def psql(home: Home, role: str, arguments: Sequence[str]) -> NoReturn:
    """Become psql on the warehouse, as a role. Does not return."""
    services_by_name = {service.name: service for service in services.SERVICES}
    if services.running(home, services_by_name["postgres"]) is None:
        raise LocalError("PostgreSQL does not run: start the stack with ./sluice up --no-run")
    program = postgres.psql()
    env = {
        **os.environ,
        "PGHOST": ports.HOST,
        "PGPORT": str(home.ports["postgres"]),
        "PGDATABASE": "warehouse",
        "PGUSER": role,
        "PGPASSWORD": home.secrets[f"postgres_{role}"],
    }
    sys.stdout.flush()
    os.execve(program, [str(program), *arguments], env)  # noqa: S606 - psql takes the terminal over


def test(arguments: Sequence[str]) -> NoReturn:
    """Become pytest, in the project: all of the tests on two workers, or what the arguments say. Does not return."""
    os.chdir(PROJECT)
    sys.stdout.flush()
    given = list(arguments) or ["--numprocesses", "2", "--no-loadscope-reorder"]
    os.execv(sys.executable, [sys.executable, "-P", "-m", "pytest", *given])  # noqa: S606 - the same


def bench(arguments: Sequence[str]) -> NoReturn:
    """Become the benchmarks, which have servers of their own: the arguments are theirs. Does not return."""
    os.chdir(PROJECT)
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-P", "-m", "benchmarks", *arguments])  # noqa: S606 - the same


def down(home: Home, *, purge: bool) -> int:
    """Stop every service of this home; with purge its data, logs and passwords go too."""
    with alone(home):
        services.stop_all(home)
        if purge:
            outside = postgres.data_directory(home.postgres)
            for path in (outside, *home.path.iterdir()):
                if path.name in {"lock", "uv", "venv"}:  # the launcher's own, and what we hold just now
                    continue
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
    say("stopped" + (f"; {home.path} is empty" if purge else f"; the data stays in {home.path}"))
    return 0


def _live(home: Home) -> airflow.Api:
    if "airflow" in home.ports and (api := airflow.Api(home)).is_healthy():
        return api
    raise LocalError("Airflow does not run: start the stack with ./sluice up --no-run")


def conclude(home: Home, api: airflow.Api, ended: Sequence[runs.Run]) -> bool:
    """Print the table of the runs and what is to tell of each; whether all of them are published."""
    lines: list[tuple[object, ...]] = []
    notes: list[str] = []
    published = []
    for one in ended:
        found = report.of_run(home, one.source, one.run_id)
        is_published, told = _outcome(api, one)
        lines.append((one.name, *(found[name] for name in HEADER[1:-1]), one.seconds))
        notes += told
        published.append(is_published)
    print("\n".join(["", report.table(HEADER, lines), *notes]), flush=True)
    return all(published)


def _outcome(api: airflow.Api, run: runs.Run) -> tuple[bool, list[str]]:
    """Whether the run's data is published, and what to tell of it."""
    if run.state != "success":
        told = []
        for task_id, log in runs.failures(api, run):
            told.append(f"{run.name}: failed at {task_id}; its log ends:")
            told += [f"    {line}" for line in log]
        return False, told or [f"{run.name}: failed; see the run {run.run_id} in Airflow"]
    reasons = runs.skip_reasons(api, run)
    told = [f"{run.name}: skipped: {reason}" for reason in reasons]
    if run.is_published:
        return True, told
    unchanged = bool(reasons) and all("unchanged" in reason and "published" in reason for reason in _decided(reasons))
    if unchanged:
        told.append(f"{run.name}: already published, nothing has changed since")
    return unchanged, told or [f"{run.name}: published nothing; see the run {run.run_id} in Airflow"]


_NOTHING_NEW = re.compile(
    r"nothing new to load|\w+: (no new file|nothing new since the cursor|this run landed nothing)"
)


def _decided(reasons: Sequence[str]) -> list[str]:
    """The reasons of the tasks that had something to decide, not of those that there was nothing for."""
    return [reason for reason in reasons if not _NOTHING_NEW.match(reason)]


def _last_runs(home: Home) -> dict[str, dict[str, Any]]:
    api = airflow.Api(home)
    found = {}
    for name in runs.sources():
        try:
            last = api.get(f"dags/{name}/dagRuns", order_by="-run_after", limit=1)["dag_runs"]
        except LocalError:  # no such DAG (yet)
            continue
        if last:
            found[name] = {key: last[0][key] for key in ("dag_run_id", "state", "start_date", "end_date")}
    return found


def _print_status(found: Mapping[str, Any]) -> None:
    words = {(True, True): "ready", (True, False): "starting or ill", (False, False): "down"}
    print(
        report.table(
            ("service", "state", "port", "pid"),
            [
                (one["service"], words[one["running"], one["ready"]], str(one["port"] or "-"), str(one["pid"] or "-"))
                for one in found["services"]
            ],
        )
    )
    if "sources" not in found:
        print("\nnothing to tell of the warehouse: PostgreSQL does not answer (./sluice up --no-run starts it)")
        return
    print()
    print(
        report.table(
            ("source", "last run", "ended", "last landed", "last published", "unpublished landings"),
            [
                (
                    one["source"],
                    (one["last_run"] or {}).get("state", "never"),
                    _ago((one["last_run"] or {}).get("end_date")),
                    _ago(one.get("landed_at")),
                    _ago(one.get("published_at")),
                    int(one.get("unpublished") or 0),
                )
                for one in found["sources"]
            ],
        )
    )
    print()
    counts = [(layer, name, count) for layer, tables in found["rows"].items() for name, count in tables.items()]
    counts += [("quarantine", name, count) for name, count in found["quarantine"].items()]
    print(report.table(("layer", "table", "rows"), counts))


def _ago(moment: datetime | str | None) -> str:
    if moment is None:
        return "never"
    then = datetime.fromisoformat(moment.replace("Z", "+00:00")) if isinstance(moment, str) else moment
    seconds = int((datetime.now(UTC) - then).total_seconds())
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{max(seconds, 0)} s ago"


def _without(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != name}


def _build_docs(home: Home) -> bool:
    """Dbt's docs as one static page, made again when a model has changed."""
    key = services.dbt_key(home)
    page = home.docs / "dbt" / "index.html"
    if page.exists() and home.state.get("dbt_docs") == key:
        return True
    say("making the dbt docs")
    target = home.path / "dbt_docs_target"
    target.mkdir(mode=0o700, exist_ok=True)
    if (home.dbt_target / "partial_parse.msgpack").exists():
        shutil.copy(home.dbt_target / "partial_parse.msgpack", target)
    project = str(PROJECT / "dbt_project")
    try:
        services.run_step(
            home,
            [
                *(str(Path(sys.executable).with_name("dbt")), "docs", "generate", "--static", "--quiet"),
                *("--project-dir", project, "--profiles-dir", project, "--target", "postgres"),
                *("--target-path", str(target), "--log-path", str(home.logs)),
            ],
            airflow.dbt_env(home),
            home.logs / "dbt_docs.log",
        )
    except LocalError as fault:
        say(str(fault))
        return False
    page.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = page.with_suffix(".new")
    shutil.copy(target / "static_index.html", fresh)
    fresh.replace(page)
    home.state["dbt_docs"] = key
    home.save()
    return True


def _is_reported(api: airflow.Api, made: runs.Run) -> bool:
    """Whether the day's report is archived and in the mail sink; it says what is missing, if anything is."""
    runs.follow(api, [made], say=say)
    for task_id, log in runs.failures(api, made):
        say(f"{made.source}: failed at {task_id}; its log ends:")
        say("\n".join(f"    {line}" for line in log))
    return made.state == "success"


def _urls(home: Home) -> None:
    secret = home.path / "secrets.json"
    has_docs = (home.docs / "dbt" / "index.html").is_file()
    print(f"""
Airflow    http://{ports.HOST}:{home.ports["airflow"]}  user {airflow.ADMIN}, password: airflow_admin in {secret}
dbt docs   {f"http://{ports.HOST}:{home.ports['docs']}/dbt/" if has_docs else "made by the first ./sluice up"}
Data Docs  http://{ports.HOST}:{home.ports["docs"]}/data_docs/
Report     http://{ports.HOST}:{home.ports["docs"]}/reports/  as mail in {home.mail}
Analysts   ./sluice psql""")


def say(line: str) -> None:
    """Tell whoever waits, at once."""
    print(line, flush=True)
