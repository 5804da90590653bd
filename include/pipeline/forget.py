"""Erase a person, as a command: `python -m include.pipeline.forget SOURCE --person -`.

It works with the connections that Airflow's tasks have, so in a shell on a machine that has them; the launcher's
`./sluice forget` gives it the local stack's. What is done is in `include.pipeline.erasure`.
"""

from __future__ import annotations

import argparse
import getpass
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import psycopg2

from include.lake import LakeError
from include.landing import LandingError
from include.pipeline.erasure import Access, ForgetError, Outcome, forget
from include.pipeline.forget_arguments import add_arguments
from include.pipeline.lake import database as lake_database
from include.pipeline.model import SourceError, load_source
from include.pipeline.rebuild import DbtProject, RebuildError
from include.warehouse.exports import ExportError
from include.warehouse.mirror import MirrorError
from include.warehouse.publish import PublishError
from include.warehouse.session import NotOnRedshift, postgres_only

FAULTS = (
    ExportError,
    LakeError,
    MirrorError,
    NotOnRedshift,
    ForgetError,
    LandingError,
    RebuildError,
    PublishError,
    SourceError,
    psycopg2.Error,
)
"""what an erasure ends with, if it does not end well; `said` gives the words"""


def told(outcome: Outcome, source: str, *, dry_run: bool = False) -> str:
    """The outcome in words, without a value of the person."""
    lines = []
    if outcome.is_nothing:
        lines.append(f"{source}: nothing of this person is there")
    else:
        word = "erased" if outcome.pseudonym else "there are"
        lines.append(f"{source}: {word} {outcome.records} landed records" + _in_objects(outcome))
        lines += [f"    {count:>7} rows of {name}" for name, count in outcome.rows.items()]
        if outcome.files:
            lines.append(f"    {outcome.files:>7} files of ours, values wiped")
        if outcome.pseudonym:
            lines.append(f"in the person's place stands {outcome.pseudonym}")
        if outcome.waiting:
            lines.append(f"{outcome.waiting} landings wait to be published; the pseudonym's rows come with them")
    if not dry_run:
        common = f"; {outcome.common} more are others' too, or too common to tell" if outcome.common else ""
        lines.append(f"searched {outcome.places} places for {outcome.values} values of the person{common}")
        if outcome.left:
            lines.append("STILL FOUND, so the erasure is not finished (tag the field with pii, or see to it by hand):")
            lines += [f"    {count:>7} times in {place}" for place, count in outcome.left.items()]
        else:
            lines.append("nothing found")
    return "\n".join(lines)


def _in_objects(outcome: Outcome) -> str:
    return f", {outcome.objects} objects written anew or deleted" if outcome.pseudonym else ""


def person_of(given: str) -> str:
    """The person's value: what was given, or for - a line of standard input, unseen on a terminal."""
    if given != "-":
        return given
    return getpass.getpass("the person's value: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")


def run(given: argparse.Namespace, access: Access) -> int:
    """Erase as the options say, and tell.

    Returns:
        0 when nothing of the person is left (or was there, or it was a dry run); 1 when something is, or on a no.
    """
    source, asked = load_source(given.source), False
    person = person_of(given.person)

    def confirm(outcome: Outcome) -> bool:
        nonlocal asked
        _say(told(outcome, source.name, dry_run=True))
        if given.yes:
            return True
        asked = True
        if not sys.stdin.isatty():
            return False
        return input("erase all of it? There is no way back. Type yes: ").strip() == "yes"

    outcome = forget(
        source,
        person,
        access,
        dry_run=given.dry_run,
        confirm=confirm,
        say=_say,
    )
    if asked and outcome.pseudonym is None and not outcome.is_nothing:
        _say("nothing was erased: answer yes on a terminal, or give --yes")
        return 1
    _say(told(outcome, source.name, dry_run=given.dry_run and not outcome.is_nothing))
    return 1 if outcome.left else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Erase by Airflow's own connections, for a shell on a machine that has them (an image, a container)."""
    from include.pipeline import connections

    parser = argparse.ArgumentParser(prog="python -m include.pipeline.forget", description="Erase a person.")
    add_arguments(parser)
    parser.add_argument(
        "--run-has-ended",
        action="store_true",
        help="the run that built the source's models last is not under way: see Airflow",
    )
    given = parser.parse_args(arguments)
    project = Path(__file__).resolve().parents[2]
    try:
        with tempfile.TemporaryDirectory() as target:
            dsn = connections.warehouse_dsn(connections.TRANSFORMER)
            postgres_only(dsn, "Erasing a person")
            warehouse = psycopg2.extensions.parse_dsn(dsn)
            dbt = DbtProject(
                Path(os.environ.get("SLUICE_DBT_PROJECT_DIR", project / "dbt_project")),
                Path(target),
                {
                    "SLUICE_DBT_HOST": warehouse["host"],
                    "SLUICE_DBT_PORT": warehouse.get("port", "5432"),
                    "SLUICE_DBT_USER": warehouse["user"],
                    "SLUICE_DBT_PASSWORD": warehouse["password"],
                    "SLUICE_DBT_DBNAME": warehouse["dbname"],
                    "SLUICE_DBT_SSLMODE": warehouse.get("sslmode", "prefer"),
                    "SLUICE_DBT_SSLROOTCERT": warehouse.get("sslrootcert", ""),
                },
            )
            access = Access(
                connections.landing_store(),
                connections.warehouse_dsn(connections.LOADER),
                connections.warehouse_dsn(connections.TRANSFORMER),
                connections.warehouse_dsn(connections.PUBLISHER),
                connections.warehouse_dsn(connections.GATE),
                dbt=dbt,
                lake=connections.lake() if lake_database() else None,
                mirror=connections.mirror() if load_source(given.source).mirror else None,
                is_running=lambda _: not given.run_has_ended,
            )
            return run(given, access)
    except FAULTS as fault:
        sys.stderr.write(f"forget: {said(fault)}\n")
        return 1


def said(fault: Exception) -> str:
    """What a fault says, but for the values of rows that Postgres adds to its messages."""
    if isinstance(fault, psycopg2.Error):
        return f"the warehouse refused it ({type(fault).__name__}): {fault.diag.message_primary or 'see its log'}"
    return str(fault)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
