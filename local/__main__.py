"""The launcher's commands, behind ./sluice: each talks to the ordinary tools (Airflow's REST API, dbt, psql)."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import psycopg2
import requests

from include.pipeline.forget_arguments import add_arguments
from local import backfill, commands, ports, replay
from local.arguments import count
from local.home import WAREHOUSE_ROLES, LocalError, open_home
from local.new_source.forms import FORMS
from local.postgres import PostgresError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 when it did what was asked; 1 when it failed; 2 when it was asked wrongly.
    """
    given = _parser().parse_args(arguments)
    # A proxy has no business on loopback.
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), ports.HOST, "localhost"]))
    try:
        ports.check_host()
        return int(given.command(given))
    except (LocalError, PostgresError, OSError, psycopg2.Error, requests.RequestException) as fault:
        print(f"sluice: {fault}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "\nsluice: interrupted; what was started goes on: ./sluice status shows it, ./sluice down stops it",
            file=sys.stderr,
        )
        return 130


def _up(given: argparse.Namespace) -> int:
    return commands.up(open_home(), data=given.data, run=not given.no_run)


def _run(given: argparse.Namespace) -> int:
    conf = dict(given.param)
    if given.date is not None:
        conf["date"] = given.date
    if given.from_landing:
        conf["from_landing"] = True
    return commands.run(open_home(), given.source, conf)


def _replay(given: argparse.Namespace) -> int:
    if bool(given.first) != bool(given.last):
        raise LocalError("--from and --to go together: the first and the last day of a range")
    return replay.replay(open_home(), given.source, first=given.date or given.first, last=given.last)


def _backfill(given: argparse.Namespace) -> int:
    return backfill.backfill(
        open_home(), given.source, given.first, given.last, reprocess=given.reprocess, at_once=given.at_once
    )


def _new_source(given: argparse.Namespace) -> int:
    from local.new_source.command import new_source  # with all that reads a sample
    from local.new_source.plan import Wishes

    asked = {name: getattr(given, name) for name in Wishes.__dataclass_fields__}
    wishes = Wishes(**asked | {name: tuple(asked[name] or ()) for name in ("keys", "pii")})
    return new_source(given.name, wishes, ask=input if sys.stdin.isatty() and not given.yes else None)


def _status(given: argparse.Namespace) -> int:
    return commands.status(open_home(), as_json=given.json)


def _psql(given: argparse.Namespace) -> int:
    return commands.psql(open_home(), given.role, given.arguments)


def _quarantine(given: argparse.Namespace) -> int:
    from local import quarantine  # Arrow, which few commands need

    match given.action:
        case "list":
            return quarantine.listed(open_home(), given.source)
        case "show":
            return quarantine.show(open_home(), given.source, given.entity, limit=given.limit, clear=given.clear)
        case _:
            return quarantine.redrive(open_home(), given.source, given.entity)


def _trace(given: argparse.Namespace) -> int:
    from local import trace  # Arrow and openpyxl, which no other command needs

    return trace.show(open_home(), given.table, given.key, clear=given.clear)


def _test(given: argparse.Namespace) -> int:
    return commands.test(given.arguments)


def _bench(given: argparse.Namespace) -> int:
    return commands.bench(given.arguments)


def _forget(given: argparse.Namespace) -> int:
    from local import forget  # it takes dbt along, which the other commands do without

    return forget.forget(open_home(), given)


def _down(given: argparse.Namespace) -> int:
    return commands.down(open_home(), purge=given.purge)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sluice",
        description="ELT with a gate at every layer, on this machine.",
        epilog="State is kept in .sluice beside the launcher; SLUICE_HOME moves it.",
        allow_abbrev=False,
    )
    commands_of = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(
        name: str,
        does: str,
        call: Callable[[argparse.Namespace], int],
        **how: Any,  # noqa: ANN401 - as argparse has it
    ) -> argparse.ArgumentParser:
        added = commands_of.add_parser(name, help=does, description=does, allow_abbrev=False, **how)
        added.set_defaults(command=call)
        return added

    up = command("up", "start the stack, run every source once and show what was published", _up)
    up.add_argument("--no-run", action="store_true", help="only start the stack")
    up.add_argument(
        "--data",
        type=_folder,
        metavar="DIR",
        help="have the sandbox serve the real payloads in DIR before synthetic ones",
    )

    run = command("run", "run one source through the scheduler and wait for it", _run)
    run.add_argument("source", metavar="SOURCE", help="a folder of include/sources")
    run.add_argument(
        "--date", type=_date, metavar="YYYY-MM-DD", help="a day in the partition to load (default: the newest)"
    )
    run.add_argument(
        "--param",
        type=_param,
        action="append",
        default=[],
        metavar="KEY=JSON",
        help="""another value for a parameter of source.yml in this run: --param cities='["Oslo"]'; repeatable""",
    )
    run.add_argument(
        "--from-landing", action="store_true", help="rebuild from what was landed, without calling the API"
    )

    again = command("replay", "rebuild a source from what was landed in S3, without calling its API", _replay)
    again.add_argument("source", metavar="SOURCE", help="a folder of include/sources")
    what = again.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--date", type=_date, metavar="YYYY-MM-DD", help="the partitions of one day, or the month it is in"
    )
    what.add_argument(
        "--from", dest="first", type=_date, metavar="YYYY-MM-DD", help="with --to: all in a range of days"
    )
    what.add_argument("--all", action="store_true", help="all that was ever landed")
    again.add_argument("--to", dest="last", type=_date, metavar="YYYY-MM-DD", help="the range's last day")

    past = command("backfill", "have Airflow run a source for each date of its schedule in a range", _backfill)
    past.add_argument("source", metavar="SOURCE", help="a folder of include/sources")
    past.add_argument("--from", dest="first", type=_date, required=True, metavar="YYYY-MM-DD", help="the first day")
    past.add_argument("--to", dest="last", type=_date, required=True, metavar="YYYY-MM-DD", help="the last day")
    past.add_argument(
        "--reprocess",
        choices=("none", "failed", "completed"),
        default="none",
        help="dates that have been run already: none of them again, those that failed, or all (default: %(default)s)",
    )
    past.add_argument("--at-once", type=count, default=3, metavar="N", help="runs at a time (default: %(default)s)")

    new = command(
        "new-source",
        "a working folder, dbt models, gates and tests for a new source",
        _new_source,
        epilog="What is not given is inferred from the sample; on a terminal it is asked for.",
    )
    new.add_argument("name", metavar="NAME", help="the source's name, lower snake case")
    for flag, metavar, text in (
        (
            "--sample",
            "FILE_OR_URL",
            "an answer of the API, or a file that it serves; a key is read from SLUICE_SAMPLE_KEY",
        ),
        ("--base-url", "URL", "where the API is (default: the sample's URL)"),
        ("--path", "PATH", "the endpoint below it, with its query (default: the sample's URL)"),
        ("--records", "PATH", "keys to the records in an answer, such as data.items; . for the answer itself"),
        ("--format", "FORMAT", "json, ndjson, csv, parquet or xlsx"),
        ("--paging", "KIND:…", "; ".join(FORMS)),
        ("--key", "PLACE:NAME", "header:NAME, header:NAME:PREFIX, query:NAME or none"),
        ("--schedule", "CRON", "cron expression or preset, UTC (default: @daily)"),
        ("--mode", "MODE", "append or upsert (default: upsert where the sample has a key)"),
        ("--grain", "GRAIN", "what a landing covers: hour, day, month or all"),
        ("--connection", "ID", "Airflow connection of the API (default: NAME)"),
        ("--owner", "OWNER", "who answers for it (default: data-platform)"),
        ("--entity", "ENTITY", "what the records are (default: the path's last step)"),
        ("--description", "TEXT", "what it is, in a sentence"),
    ):
        new.add_argument(flag, metavar=metavar, help=text)
    new.add_argument("--keys", type=_names, metavar="COLUMN,…", help="columns that tell records apart, for mode upsert")
    new.add_argument(
        "--pii",
        action="append",
        metavar="COLUMN:KIND",
        help="personal data: mail:email; COLUMN:none where it is taken for some and is none; repeatable",
    )
    new.add_argument("--yes", action="store_true", help="ask nothing")

    status = command("status", "services, last runs, rows per layer, freshness, quarantine", _status)
    status.add_argument("--json", action="store_true", help="the same for programs")

    psql = command("psql", "a SQL shell on the warehouse", _psql)
    psql.add_argument("--role", choices=WAREHOUSE_ROLES, default="analyst", help="default: %(default)s", metavar="ROLE")
    psql.add_argument("arguments", nargs="*", metavar="-- ARGS", help="passed to psql: -- -c 'select 1'")

    held = command("quarantine", "the rows that gates and loads hold back, why, and their way back", _quarantine)
    held_of = held.add_subparsers(required=True, dest="action", metavar="list | show | redrive")
    listed = held_of.add_parser("list", help="how many of which landing, since when, for what", allow_abbrev=False)
    listed.add_argument("source", nargs="?", metavar="SOURCE", help="of one source (default: of all)")
    shown = held_of.add_parser(
        "show", help="row by row: its object and place, the reasons, the payload", allow_abbrev=False
    )
    redrive = held_of.add_parser(
        "redrive", help="load them again, through the same gates, and wait", allow_abbrev=False
    )
    for one in (shown, redrive):
        one.add_argument("source", metavar="SOURCE", help="a folder of include/sources")
        one.add_argument("--entity", metavar="ENTITY", help="of one entity (default: of all)")
    shown.add_argument("--limit", type=count, default=10, metavar="N", help="rows a table (default: %(default)s)")
    shown.add_argument("--clear", action="store_true", help="show the values of personal columns too")

    trace = command("trace", "from a row of analytics to the object and the bytes that it came from", _trace)
    trace.add_argument("table", metavar="TABLE", help="a table of analytics")
    trace.add_argument("key", metavar="KEY", help="the row's primary key; of several columns with commas: K1,K2")
    trace.add_argument("--clear", action="store_true", help="show the values of personal columns too")

    erase = command("forget", "erase a person from all that a source has brought, and prove it", _forget)
    add_arguments(erase)

    # no argument begins with NUL, so none is taken for an option of ours: they are pytest's
    test = command("test", "the tests: arguments go to pytest", _test, prefix_chars="\0", add_help=False)
    test.add_argument("arguments", nargs="*", metavar="ARGS", help="passed to pytest")

    bench = command(
        "bench", "benchmarks against limits and peers, as ratios: --help", _bench, prefix_chars="\0", add_help=False
    )
    bench.add_argument("arguments", nargs="*", metavar="NAME…", help="which; without one they are listed")

    down = command("down", "stop everything; the data stays", _down)
    down.add_argument("--purge", action="store_true", help="delete the data, the logs and the passwords too")
    return parser


def _folder(text: str) -> Path:
    path = Path(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is not a folder")
    return path.resolve()


def _date(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not a date like 2024-01-31") from None


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _param(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise argparse.ArgumentTypeError(f"""{text} is not KEY=JSON, like cities='["Oslo"]'""")
    try:
        return key, json.loads(value)
    except ValueError as fault:
        raise argparse.ArgumentTypeError(f"the value of {key} is not JSON ({fault}): {value}") from None


if __name__ == "__main__":
    sys.exit(main())
