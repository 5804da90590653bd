"""From the PUT of a real taxi month into the drop zone to published rows, on a stack before moto's S3 and SQS: seconds.

Prints the moments of the way as Markdown, by the clocks of Airflow's database and the warehouse. Exit 1 if the month is
not published, or not whole.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.table import count, seconds, table
from local import services
from local.home import PROJECT, open_home
from tests.arrivals.stack import PATIENCE, Dropping, dropping
from tests.waiting import wait_until

DATA = Path(os.environ.get("SLUICE_TEST_DATA") or PROJECT.parent / "shared" / "data")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark.

    Returns:
        0 when every row of the file was published, else 1.
    """
    given = _parser().parse_args(arguments)
    with dropping({"SANDBOX_GREEN_ROWS": "1000", "SANDBOX_YELLOW_ROWS": "1000"}) as stack:
        return measure(stack, given.file)


def measure(stack: Dropping, file: Path) -> int:
    """Drop a month into a stack that has none yet, and print what it took.

    Returns:
        0 when every row of the file was published, else 1.
    """
    rows = pq.read_metadata(file).num_rows
    service, _, month = file.stem.partition("_tripdata_")
    stack.switch("tlc", on=True)
    home = open_home(stack.home)
    wait_until(lambda: not services.cold(home), "the fork server of warm workers", PATIENCE, every_seconds=0.5)
    begun = datetime.now(UTC)
    stack.drop(f"tlc/{file.name}", file.read_bytes())
    landing = f"from ops.landing where source = 'tlc' and entity = '{service}_trips'"
    wait_until(
        lambda: stack.rows(f"select count(published_at) {landing}") == [(1,)],
        lambda: f"{file.name} is published\n{stack.runs('arrivals')}\n{stack.runs('tlc')}",
        PATIENCE,
        every_seconds=0.2,
    )
    print(_report(stack, begun, file, rows, landing), flush=True)
    facts = f"from analytics.fact_taxi_trip where service = '{service}' and source_month = date '{month}-01'"
    ((published,),) = stack.rows(f"select count(*) {facts}")
    if published != rows:
        print(f"arrival: of {rows:,} rows {published:,} are published", file=sys.stderr)
    return int(published != rows)


def _report(stack: Dropping, begun: datetime, file: Path, rows: int, landing: str) -> str:
    moments = [
        ("the queue has rung in Airflow", "airflow", "select min(timestamp) from asset_event"),
        ("`arrivals` has looked", "airflow", "select min(end_date) from task_instance where task_id = 'look'"),
        ("the run of `tlc` begins", "airflow", "select min(start_date) from dag_run where dag_id = 'tlc'"),
        ("landed in S3", "warehouse", f"select fetched_at {landing}"),
        ("rows in raw", "warehouse", f"select loaded_at {landing}"),
        ("rows published", "warehouse", f"select published_at {landing}"),
    ]
    after = [(what, stack.rows(query, database=database)[0][0]) for what, database, query in moments]
    return "\n".join(
        [
            f"{begun:%Y-%m-%d}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {file.name}: {count(rows)} rows",
            "",
            table(["after the PUT", "s"], [[what, seconds((at - begun).total_seconds())] for what, at in after]),
        ]
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks.arrival", description=(__doc__ or "").splitlines()[0])
    month = DATA / "taxi" / "parquet" / "green_tripdata_2024-01.parquet"
    parser.add_argument("--file", type=Path, default=month, help="the file, under its upstream name (%(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
