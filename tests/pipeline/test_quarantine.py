"""A bad record among good ones: held back with its reason, told, mended, and brought back once."""

import itertools
import json
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from include.gates import OnFailure, Verdict, load_gates, record
from include.gates.rules import LayerName
from include.landing import LandingStore
from include.pipeline import held, steps
from include.pipeline.model import load_source
from include.pipeline.partition import RunPartition
from include.warehouse import quarantine
from include.warehouse.load import create_table
from include.warehouse.publish import Mart, publish
from tests.conftest import S3, Warehouse

DAY = RunPartition("2026-11-21", datetime(2026, 11, 21, tzinfo=UTC))
RECORDS, BAD = 10_000, 4_711
_numbers = itertools.count(1)

_GATES = """
landing:
  sales:
    expect:
      - expect_column_values_to_be_null: {column: fault}
        on_failure: fail
        why: what is no JSON cannot be loaded
raw:
  SHOP__sales:
    expect:
      - unexpected_rows_expectation: {unexpected_rows_query: '{lost_rows}'}
        on_failure: fail
        why: each sale is there, once
staging:
  stg_SHOP__sales:
    from: [sales]
    expect:
      - expect_column_values_to_not_be_null: {column: amount_usd}
        on_failure: quarantine
        at_most: AT_MOST
        why: a sale without an amount is none
      - expect_column_max_to_be_between: {column: amount_usd, max_value: 1000000}
        on_failure: fail
        why: nothing here costs so much
      - expect_column_values_to_be_between: {column: sale_id, min_value: 0}
        on_failure: quarantine
        at_most: 0.5
        why: sales are numbered from 0
marts:
  fact_sale_SHOP:
    expect:
      - unexpected_rows_expectation: {unexpected_rows_query: '{lost_rows}'}
        on_failure: fail
        why: each sale is there, once
"""
STRICT = "case when payload ->> 'amount' ~ '^[0-9.]+$' then cast(payload ->> 'amount' as numeric(12, 2)) end"
MENDED = "cast(replace(payload ->> 'amount', ',', '.') as numeric(12, 2))"


class Shop:
    """A source whose sales are dropped as files, with its staging view, mart and gates.

    The mart's amounts are what staging makes of the records; nothing but the gate stands between them.
    """

    def __init__(self, folder: Path, s3: S3, warehouse: Warehouse, at_most: float = 0.01) -> None:
        self.name, self.s3, self.warehouse = f"shop{next(_numbers)}", s3, warehouse
        self.store, self.dsn = LandingStore(s3.client, s3.bucket), warehouse.dsn("sluice_loader")
        (folder / self.name).mkdir()
        (folder / self.name / "source.yml").write_text(
            "description: A shop.\nowner: tests\nschedule: null\nconnection: shop\npartition: {grain: day}\n"
            "entities:\n  sales: {description: Sales., files: 'sales/*', format: ndjson, load: {mode: append}}\n"
        )
        (folder / "gates.yml").write_text(_GATES.replace("SHOP", self.name).replace("AT_MOST", str(at_most)))
        self.source, self.gates = load_source(self.name, folder), load_gates(folder / "gates.yml")
        self.raw = f"{self.name}__sales"
        self.mart = Mart(f"fact_sale_{self.name}", ("sale_id",))
        create_table(self.dsn, steps.raw_table(self.source, "sales"))
        self.stage(STRICT)
        self.sql(
            f"create table marts.{self.mart.name} (sale_id bigint primary key, amount_usd numeric(12, 2), "
            "_landing_id bigint, _row bigint)",
            "sluice_transformer",
        )

    def sql(self, statement: str, role: str = "") -> list[tuple[Any, ...]]:
        dsn = self.warehouse.dsn(role) if role else self.warehouse.server.dsn(self.warehouse.dbname)
        with closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def stage(self, amount: str, rows: str = "") -> None:
        """Make the staging view, reading the amount by an expression."""
        self.sql(
            f"drop view if exists staging.stg_{self.name}__sales; create view staging.stg_{self.name}__sales as "
            f"select {rows} cast(payload ->> 'id' as bigint) as sale_id, {amount} as amount_usd, _landing_id, _row "
            f"from raw.{self.raw}",
            "sluice_transformer",
        )

    def land(self, *records: dict[str, Any]) -> steps.Landing:
        """Drop a file of these records, and land it."""
        lines = "".join(json.dumps(one) + "\n" for one in records)
        self.s3.client.put_object(
            Bucket=self.s3.bucket, Key=f"drop/{self.name}/sales/{next(_numbers)}.ndjson", Body=lines.encode()
        )
        return steps.fetch_files(self.source, "sales", DAY, {}, store=self.store, dsn=self.dsn, run_id="run 1")

    def load(self, *landed: steps.Landing) -> int:
        return steps.load(self.source, "sales", landed, store=self.store, dsn=self.dsn)

    def judge(self, layer: LayerName, *landed: steps.Landing) -> Verdict:
        return held.judge(
            self.gates.layer(layer),
            layer,
            landed,
            gate_dsn=self.warehouse.dsn("sluice_gate"),
            loader_dsn=self.dsn,
            dag_run_id="run 1",
        )

    def build_and_publish(self, *landed: steps.Landing) -> None:
        """What dbt would: the landings' rows of the mart anew; and what `publish` does."""
        ids = [one["landing_id"] for one in landed]
        listed = ", ".join(map(str, ids))
        self.sql(
            f"delete from marts.{self.mart.name} where _landing_id in ({listed}); "
            f"insert into marts.{self.mart.name} select * from staging.stg_{self.name}__sales "
            f"where _landing_id in ({listed})",
            "sluice_transformer",
        )
        self.judge("marts", *landed).raise_if_failed(self.name, "marts")
        dsn = self.warehouse.dsn("sluice_publisher")
        publish(dsn, [self.mart], source=self.name, dag_run_id="run 1", landing_ids=ids)

    def run(self, *landed: steps.Landing) -> Verdict:
        """A run's steps behind its landing; the verdict on staging."""
        self.load(*landed)
        self.judge("raw", *landed).raise_if_failed(self.name, "raw")
        verdict = self.judge("staging", *landed)
        verdict.raise_if_failed(self.name, "staging")
        self.build_and_publish(*landed)
        return verdict

    def to_redrive(self, **asked: Any) -> list[steps.Landing]:  # noqa: ANN401
        return held.to_redrive(self.source, "sales", dsn=self.dsn, **asked)

    def published(self) -> tuple[int, int, str]:
        """Rows, distinct sales and the sum of the amounts, as analysts see them."""
        query = f"select count(*), count(distinct sale_id), sum(amount_usd)::text from analytics.{self.mart.name}"
        return self.sql(query, "analyst")[0]

    def held(self) -> list[tuple[int, Any]]:
        return self.sql(f"select _row, payload from quarantine.{self.raw} order by 1")


@pytest.fixture
def shop(tmp_path: Path, s3: S3, warehouse: Warehouse) -> Callable[..., Shop]:
    return lambda **more: Shop(tmp_path, s3, warehouse, **more)


def sales(count: int, **bad: Any) -> list[dict[str, Any]]:  # noqa: ANN401
    """Sales of a dollar each; `_4711="12,50"` gives that one another amount."""
    return [{"id": number, "amount": bad.get(f"_{number}", "1.00"), "note": "ü"} for number in range(count)]


def test_one_bad_record_in_ten_thousand_is_held_and_comes_back_once(shop: Callable[..., Shop]) -> None:
    one = shop()
    landing = one.land(*sales(RECORDS, **{f"_{BAD}": "12,50"}))
    (result,) = one.run(landing).quarantined
    assert (result.rows_checked, result.rows_unexpected) == (RECORDS, 1)
    assert one.published() == (RECORDS - 1, RECORDS - 1, "9999.00")
    assert one.held() == [(BAD, {"id": BAD, "amount": "12,50", "note": "ü"})]

    (found,) = quarantine.held(one.dsn, one.name)
    assert (found.uri, found.rows) == (landing["uri"], 1)
    ((reasons, landing_id, row),) = one.sql(f"select reasons, _landing_id, _row from quarantine.{one.raw}")
    assert (landing_id, row) == (landing["landing_id"], BAD)
    assert reasons == [
        {
            "layer": "staging",
            "rule": "expect_column_values_to_not_be_null",
            "column": "amount_usd",
            "message": f"stg_{one.name}__sales.amount_usd is null: a sale without an amount is none",
        }
    ]

    one.run(*one.to_redrive())  # nothing is mended: it is held again, once
    assert one.published() == (RECORDS - 1, RECORDS - 1, "9999.00")
    assert len(one.held()) == 1

    one.stage(MENDED)
    again = one.to_redrive()
    assert again == [landing]
    assert one.run(*again).quarantined == ()
    assert one.published() == (RECORDS, RECORDS, "10011.50")
    assert one.held() == []
    with pytest.raises(steps.NothingToDo, match="none of its landings has rows in quarantine"):
        one.to_redrive()
    one.run(landing)  # and whoever asks for it by name adds nothing either
    assert one.published() == (RECORDS, RECORDS, "10011.50")


def test_a_gate_that_is_tried_again_says_the_same_and_moves_nothing_twice(shop: Callable[..., Shop]) -> None:
    one = shop(at_most=0.1)
    landing = one.land(*sales(100, _3="?", _5="?"))
    one.load(landing)
    first, second = one.judge("staging", landing), one.judge("staging", landing)
    assert first.quarantined == second.quarantined
    assert second.quarantined[0].rows_unexpected == 2
    assert [row for row, _ in one.held()] == [3, 5]
    assert one.sql(f"select loaded_rows from ops.landing where landing_id = {landing['landing_id']}") == [(98,)]
    with closing(psycopg2.connect(one.warehouse.dsn("sluice_gate"))) as connection:
        ids = [landing["landing_id"]]
        record(connection, second, source=one.name, layer="staging", dag_run_id="run 1", landing_ids=ids)
    booked = one.sql(
        f"select on_failure, success, rows_checked, rows_unexpected from ops.gate_result where source = '{one.name}' "
        "and not success"
    )
    assert booked == [("quarantine", False, 100, 2)]


def test_what_only_the_held_row_breaks_passes_without_it(shop: Callable[..., Shop]) -> None:
    one = shop(at_most=0.1)
    landing = one.land(*sales(100, _3="x"))
    one.stage("case when payload ->> 'amount' <> 'x' then 1 end")
    one.load(landing)
    one.gates.staging[f"stg_{one.name}__sales"].expect[1].arguments.update(max_value=1)
    assert one.judge("staging", landing).passed


def test_over_the_share_nothing_is_held_and_the_gate_fails(shop: Callable[..., Shop]) -> None:
    one = shop(at_most=0.01)
    landing = one.land(*sales(100, _3="?", _5="?"))
    one.load(landing)
    verdict = one.judge("staging", landing)
    (failure,) = verdict.failures
    assert failure.on_failure is OnFailure.FAIL
    assert failure.message == (
        f"stg_{one.name}__sales.amount_usd: 2 of 100 rows are null; expected none, and at most 1 % of the rows may be "
        f"quarantined; rows (_landing_id, _row) such as ({landing['landing_id']}, 3), ({landing['landing_id']}, 5)"
    )
    assert one.sql(f"select count(*) from raw.{one.raw}") == [(100,)]
    assert one.sql(f"select to_regclass('quarantine.{one.raw}')") == [(None,)]


def test_over_the_share_of_one_rule_nothing_is_held_for_another_either_and_both_fail(
    shop: Callable[..., Shop],
) -> None:
    one = shop(at_most=0.01)
    landing = one.land(*sales(100, _3="?", _5="?"), {"id": -1, "amount": "1.00"})
    one.load(landing)
    verdict = one.judge("staging", landing)
    over, within = verdict.failures
    assert (over.column, within.column) == ("amount_usd", "sale_id")
    assert "expected none, and at most 1 % of the rows may be quarantined" in over.message
    assert within.message.endswith("; nothing was quarantined, for another rule of this gate is over its share")
    assert (verdict.quarantined, verdict.offending) == ((), {})
    assert one.sql(f"select count(*) from raw.{one.raw}") == [(101,)]
    assert one.sql(f"select to_regclass('quarantine.{one.raw}')") == [(None,)]
    assert one.sql(f"select loaded_rows from ops.landing where landing_id = {landing['landing_id']}") == [(101,)]


def test_the_share_is_not_spent_anew_by_each_try(shop: Callable[..., Shop]) -> None:
    one = shop(at_most=0.02)
    landing = one.land(*sales(100, _3="?", _5="?"))
    one.load(landing)
    assert one.judge("staging", landing).passed
    one.stage("case when payload ->> 'id' <> '7' then 1 end")  # another row is bad by now
    assert "expected none, and at most 2 %" in one.judge("staging", landing).failures[0].message
    assert len(one.held()) == 2


def test_an_older_bad_row_that_comes_to_light_is_held_too(shop: Callable[..., Shop]) -> None:
    one = shop(at_most=0.5)
    one.stage(STRICT, "distinct on (payload ->> 'id')")
    # the newest of sale 1 is bad, and so is the one before it; the oldest is good
    twice = [{"id": 1, "amount": "1.00"}, {"id": 1, "amount": "?"}, {"id": 1, "amount": "??"}]
    landing = one.land(*twice, *({"id": number, "amount": "1.00"} for number in range(2, 8)))
    one.sql(
        f"drop view staging.stg_{one.name}__sales; create view staging.stg_{one.name}__sales as "
        f"select distinct on (payload ->> 'id') cast(payload ->> 'id' as bigint) as sale_id, {STRICT} as amount_usd, "
        f"_landing_id, _row from raw.{one.raw} order by payload ->> 'id', _row desc",
        "sluice_transformer",
    )
    one.load(landing)
    verdict = one.judge("staging", landing)
    assert verdict.passed, verdict.table()
    assert verdict.quarantined[0].rows_unexpected == 2
    assert [row for row, _ in one.held()] == [1, 2]


def test_a_staging_table_that_is_no_view_of_raw_fails_and_says_so(shop: Callable[..., Shop]) -> None:
    one = shop(at_most=0.5)
    landing = one.land(*sales(10, _3="?"))
    one.load(landing)
    name = f"staging.stg_{one.name}__sales"
    one.sql(
        f"create table staging.copied as select * from {name}; drop view {name}; create table {name} as table "
        "staging.copied; drop table staging.copied",
        "sluice_transformer",
    )
    (failure,) = one.judge("staging", landing).failures
    assert "did not take them out of the table: is it a view of its raw table?" in failure.message


def test_a_redrive_may_be_of_one_entity_or_landing(shop: Callable[..., Shop]) -> None:
    one = shop(at_most=0.5)
    landed = []
    for records in (sales(4, _3="?"), sales(4, _2="?"), sales(4)):
        landed.append(one.land(*records))
        one.load(landed[-1])
    one.judge("staging", *landed)
    first, second, good = landed
    assert one.to_redrive() == [first, second]
    assert one.to_redrive(only="sales", landing_id=second["landing_id"]) == [second]
    with pytest.raises(steps.NothingToDo, match=r"sales: this run redrives returns"):
        one.to_redrive(only="returns")
    with pytest.raises(steps.NothingToDo, match=rf"no landing {good['landing_id']} of it has rows in quarantine"):
        one.to_redrive(landing_id=good["landing_id"])
