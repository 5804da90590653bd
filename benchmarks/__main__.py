"""`./sluice bench`: runs benchmarks by name, prints their tables, and writes them into docs/performance.md."""

from __future__ import annotations

import argparse
import importlib
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.bench import Result, Servers, servers
from benchmarks.worker import WayError
from local.arguments import count
from local.home import PROJECT

DOCUMENT = PROJECT / "docs" / "performance.md"
BENCHMARKS = {
    "load": "a taxi month from S3 to raw, against the server's binary COPY, ADBC, dlt, psycopg and pandas",
    "landing": "a file from a stream to S3, against a bare multipart upload of boto3",
    "json": "100,000 JSON documents to raw, against the server's COPY to jsonb and dlt",
    "rerun": "a partition loaded again over 1 to 24 others",
    "gate": "twelve expectations on a month, against one aggregate written by hand",
    "publish": "a day to its readers over 1 to 24 days, against copying its rows",
    "marts": "dbt: a day into a fact of 1 to 720 days",
    "cities": "1,000 cities from an API that takes 50 ms for each, against what its limits allow",
    "parse": "Airflow: the DAG files of 5 and of 100 sources, parsed cold",
    "models": "dbt: one model's task among 500 models",
}
_MODULES = {"json": "documents"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is named.

    Returns:
        0 when all were run, whatever they found; 1 when one failed.
    """
    given = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers go with it
    if not given.names:
        print("\n".join(f"{name:8} {what}" for name, what in BENCHMARKS.items()))
        print("\n./sluice bench NAME… runs them, ./sluice bench all runs every one; --write keeps the tables")
        return 0
    names = list(BENCHMARKS) if given.names == ["all"] else given.names
    failed = False
    for name in names:
        print(f"\n### {name}: {BENCHMARKS[name]}\n", flush=True)
        try:
            with servers() as started:
                result = _run(name, started, given)
        except WayError as fault:
            print(f"bench: {name}: {fault}", file=sys.stderr)
            failed = True
            continue
        print(result.text(), flush=True)
        if given.write:
            write(DOCUMENT, name, result)
    return 1 if failed else 0


def write(document: Path, name: str, result: Result) -> None:
    """Put a result between its markers in a document.

    Raises:
        ValueError: The document has no such markers.
    """
    begin, end = f"<!-- bench {name} -->", f"<!-- end {name} -->"
    text = document.read_text()
    fresh, count = re.subn(
        f"{begin}.*?{end}", lambda _: f"{begin}\n{result.text()}\n{end}", text, count=1, flags=re.DOTALL
    )
    if not count:
        raise ValueError(f"{document}: the markers {begin} and {end} are missing: put them where the table belongs")
    document.write_text(fresh)


def _run(name: str, started: Servers, given: argparse.Namespace) -> Result:
    module = importlib.import_module(f"benchmarks.{_MODULES.get(name, name)}")
    result: Result = module.run(started, rows=given.rows, rounds=given.rounds, peer_rounds=given.peer_rounds)
    return result


def _name(text: str) -> str:
    if text not in (*BENCHMARKS, "all"):
        raise argparse.ArgumentTypeError(f"{text} is none of {', '.join(BENCHMARKS)} or all")
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="./sluice bench", description="Ratios from one run, on servers of its own.", allow_abbrev=False
    )
    parser.add_argument("names", nargs="*", metavar="NAME", type=_name, help=", ".join(BENCHMARKS) + " or all")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/performance.md")
    parser.add_argument("--rows", type=count, default=3_000_000, help="of a month (default: %(default)s)")
    parser.add_argument("--rounds", type=count, default=5, help="of which the median counts (default: %(default)s)")
    parser.add_argument("--peer-rounds", type=count, default=5, help="of slow peers (default: %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
