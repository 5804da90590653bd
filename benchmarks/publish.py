"""A day of a fact to its readers, over facts of 1 to 24 days: against copying its rows."""

from __future__ import annotations

from functools import partial

from benchmarks.bench import Goal, Result, Servers
from benchmarks.measure import Took, Way, in_turn, paired
from benchmarks.rerun import flat
from include.warehouse.publish import Mart, publish

HISTORIES = (1, 6, 24)
COPY = "copying the rows"
_MOST_ROWS = 100_000
_FACT = Mart("fact_sale", ("sale_key",), replace_by=("day",))


def run(servers: Servers, *, rows: int, rounds: int, peer_rounds: int) -> Result:  # noqa: ARG001 - one face for all
    """Measure; a day has at most 100,000 rows."""
    size = min(rows, _MOST_ROWS)
    for history in HISTORIES:
        database = servers.warehouse(f"of_{history}")
        servers.ask(
            "create table marts.fact_sale (sale_key bigint primary key, day date not null, shop text, item text, "
            "sold_at timestamp, pieces int, amount_usd numeric(12, 2), tax_usd numeric(12, 2), tip_usd numeric(12, 2), "
            "_landing_id bigint not null)",
            "insert into marts.fact_sale select one, date '2024-01-01' + (one / "
            f"{size})::int, 'shop ' || one % 90, 'item ' || one % 7000, timestamp '2024-01-01' + one * interval '1 s', "
            f"one % 9, one % 10000 / 100.0, one % 900 / 100.0, one % 300 / 100.0, one / {size} + 1 "
            f"from generate_series(0, {size * history - 1}) as one",
            "create index on marts.fact_sale (_landing_id)",
            "create index on marts.fact_sale (day)",  # as every mart has one that is replaced by something
            "alter table marts.fact_sale owner to sluice_transformer",
            "grant select on marts.fact_sale to sluice_publisher",
            database=database,
        )
        servers.vacuum("marts.fact_sale", database)
        _publish(servers, database, *range(1, history + 1))

    def of_day(database: str, day: int) -> Took:
        servers.ask(f"delete from analytics.fact_sale where _landing_id = {day}", database=database)
        servers.vacuum("analytics.fact_sale", database)
        return servers.clock.measure(lambda: _publish(servers, database, day))

    def copied() -> Took:
        database, day = f"of_{HISTORIES[-1]}", HISTORIES[-1]
        servers.ask(
            "drop table if exists copied",
            "create table copied (like marts.fact_sale including indexes)",
            database=database,
        )
        statement = f"insert into copied select * from marts.fact_sale where _landing_id = {day}"
        return servers.clock.measure(lambda: servers.ask(statement, database=database))

    took = in_turn(
        [
            *(Way(f"{history} days", partial(of_day, f"of_{history}", history)) for history in HISTORIES),
            Way(COPY, copied),
        ],
        rounds,
    )
    days = {name: runs for name, runs in took.items() if name != COPY}
    result = flat(f"A day of {size:,} rows.", days, "a day over 24, of that over 1", at_most=1.2)
    last = took[f"{HISTORIES[-1]} days"]
    copy_row = flat("", {f"{HISTORIES[0]} days": took[f"{HISTORIES[0]} days"], COPY: took[COPY]}, "", at_most=1).rows[1]
    return Result(
        result.what,
        result.header,
        [*result.rows, copy_row],
        [
            *result.goals,
            Goal("a day over 24, of copying its rows, seconds", paired(last, took[COPY]), at_most=1.5),
            Goal("a day over 24, of copying its rows, CPU", paired(last, took[COPY], lambda one: one.cpu), at_most=1.5),
        ],
    )


def _publish(servers: Servers, database: str, *days: int) -> None:
    dsn = servers.dsn("sluice_publisher", database)
    publish(dsn, [_FACT], source="shop", dag_run_id="bench", landing_ids=days)
