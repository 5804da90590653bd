"""A warehouse as a month of runs leaves it: every table of the report with the columns that its dbt yml promises."""

from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg2
import pytest
import yaml
from psycopg2.extras import execute_values

from include.report.expect import Expected
from include.report.subjects import SUBJECTS
from include.warehouse.marts import Mart
from include.warehouse.session import psycopg_session
from include.warehouse.shape import place, published_table
from tests.conftest import Warehouse

PROJECT = Path(__file__).resolve().parents[2]
MARTS = PROJECT / "dbt_project" / "models" / "marts"
DAY = date(2026, 11, 20)
NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
SOURCES = (
    Expected("driven", "broadband usage", is_due=True, warn_after_hours=26, error_after_hours=50),
    Expected("opensea", "NFTs of a collection", is_due=True, warn_after_hours=26, error_after_hours=50),
    Expected("openweather", "weather of cities", is_due=True, warn_after_hours=3, error_after_hours=6),
    Expected("tlc", "New York taxi trips", is_due=False),
    Expected("x", "posts of accounts", is_due=True),
)
PERSONAL = ("Ada Lovelace", "ada@example.org", "RO49AAAA1B31007593840000", "Str. Lunga 4", "harbour_news")
CITIES = (
    *(("Amsterdam", 7), ("Berlin", 4), ("Cape Town", 21), ("Delhi", 27), ("Lima", 19), ("London", 9)),
    *(("Mexico City", 18), ("Nairobi", 22), ("New York", 8), ("Oslo", -3), ("Paris", 8), ("Reykjavik", 1)),
    *(("Singapore", 30), ("Sydney", 24), ("São Paulo", 23), ("Tokyo", 13)),
)


@dataclass(frozen=True)
class Filled:
    """The warehouse, and a way to write in it."""

    warehouse: Warehouse

    @property
    def dsn(self) -> str:
        """As the report reads it."""
        return self.warehouse.dsn("sluice_reporter")

    def execute(self, statement: str, *values: object, role: str = "sluice_publisher") -> None:
        """Run one statement as a role."""
        with (
            closing(psycopg2.connect(self.warehouse.dsn(role))) as connection,
            connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(statement, values)

    def insert(self, table: str, rows: list[dict[str, object]], role: str = "sluice_publisher") -> None:
        """Insert rows of the same columns; what readers ask as `analytics.<mart>` may lie behind a mask."""
        names = list(rows[0])
        schema, _, mart = table.partition(".")
        if schema == "analytics":
            with psycopg_session(self.warehouse.dsn(role)) as session:
                table = published_table(session, mart) or table
        columns = ", ".join(f'"{name}"' for name in names)
        with (
            closing(psycopg2.connect(self.warehouse.dsn(role))) as connection,
            connection,
            connection.cursor() as cursor,
        ):
            execute_values(
                cursor, f"insert into {table} ({columns}) values %s", [[row[name] for name in names] for row in rows]
            )


def landing_id(moment: datetime) -> int:
    """The id of a landing that began then."""
    return int(moment.timestamp() * 1_000_000)


@pytest.fixture(scope="module")
def filled(warehouse: Warehouse) -> Filled:
    """Of 31 days up to NOW; driven has failed today, openweather warned, tlc landed two days ago."""
    held = Filled(warehouse)
    for subject in SUBJECTS:
        for table in subject.tables:
            create(held, table)
    fill_ops(held)
    fill_subjects(held)
    return held


def create(held: Filled, table: str) -> None:
    """Make the mart as its dbt model's contract says, and `analytics.<table>` as publish does."""
    (path,) = MARTS.rglob(f"{table}.yml")
    (model,) = [one for one in yaml.safe_load(path.read_text())["models"] if one["name"] == table]
    columns = ", ".join(f'"{column["name"]}" {column["data_type"]}' for column in model["columns"])
    held.execute(f"create table marts.{table} ({columns})", role="sluice_transformer")
    metas = {one["name"]: {**one.get("meta", {}), **one.get("config", {}).get("meta", {})} for one in model["columns"]}
    personal = {name: meta["pii"] for name, meta in metas.items() if "pii" in meta}
    with psycopg_session(held.warehouse.dsn("sluice_publisher")) as session:
        place(session, Mart(table, key=(), personal=personal), [])


def fill_ops(held: Filled) -> None:
    """The bookkeeping of each source's last run, with one quarantined row and a failed gate."""
    for source, ago, records, size, seconds in (
        ("driven", timedelta(hours=3), 987, 214_000, 30),
        ("opensea", timedelta(hours=4), 640, 88_000, 41),
        ("openweather", timedelta(minutes=55), 16, 9_400, 14),
        ("openweather", timedelta(hours=2), 16, 9_300, 13),
        ("tlc", timedelta(hours=53), 48_210, 1_204_000, 75),
        ("x", timedelta(hours=5), 122, 61_000, 22),
    ):
        begun, run = NOW - ago, f"{source} {NOW - ago:%d %H:%M}"
        failed = source == "driven"
        held.insert(
            "ops.landing",
            [
                {
                    "landing_id": landing_id(begun),
                    "source": source,
                    "entity": "things",
                    "partition": f"{begun:%Y-%m-%d}",
                    "uri": f"s3://lake/{source}/{landing_id(begun)}/",
                    "sha256": "0",
                    "bytes": size,
                    "records": records,
                    "request": "{}",
                    "fetched_at": begun,
                    "dag_run_id": run,
                    "loaded_at": begun + timedelta(seconds=5),
                    "loaded_rows": records,
                    "published_at": None,
                }
            ],
            role="sluice_loader",
        )
        verdicts = [("expect_unique", True, "fail", "met")] * 9
        if failed:
            verdicts.append(("expect_between", False, "fail", "stg_driven__sessions.download_speed_mbps: 3 of 987 <0>"))
        if source == "openweather":
            verdicts.append(("expect_recent", False, "warn", "raw.openweather__observations: newest 80 minutes old"))
        held.insert(
            "ops.gate_result",
            [
                {
                    "source": source,
                    "layer": "staging",
                    "dag_run_id": run,
                    "landing_ids": [landing_id(begun)],
                    "table_name": "things",
                    "expectation": expectation,
                    "arguments": "{}",
                    "on_failure": on_failure,
                    "success": success,
                    "message": message,
                    "checked_at": begun + timedelta(seconds=seconds / 2),
                }
                for expectation, success, on_failure, message in verdicts
            ],
            role="sluice_gate",
        )
        if not failed:
            ended = begun + timedelta(seconds=seconds)
            held.insert(
                "ops.publication",
                [
                    {
                        "source": source,
                        "dag_run_id": run,
                        "model": model,
                        "landing_ids": [landing_id(begun)],
                        "rows_deleted": 0,
                        "rows_inserted": records,
                        "published_at": ended,
                    }
                    for model in ("fact", "dim")
                ],
            )
            held.execute("update ops.landing set published_at = %s where landing_id = %s", ended, landing_id(begun))
    held.execute("create table quarantine.driven__sessions (payload text, _landing_id bigint)", role="sluice_loader")
    held.execute(
        "insert into quarantine.driven__sessions values (%s, %s), (%s, 1)",
        PERSONAL[0],
        landing_id(NOW - timedelta(hours=3)),
        PERSONAL[0],
        role="sluice_loader",
    )


def fill_subjects(held: Filled) -> None:
    """Rows whose sums can be told: see the tests. No random: a wave by the week."""
    wave = (0.82, 0.91, 1.0, 1.06, 1.12, 1.21, 0.88)
    recent = landing_id(NOW - timedelta(hours=5))
    days = [DAY - timedelta(days=back) for back in range(31, -1, -1)]
    held.insert(
        "analytics.taxi_daily",
        [
            {
                "trip_date": date(2026, 8, number),
                "service": service,
                "pickup_borough": borough,
                "trips": round(trips * wave[number % 7]),
                "revenue_usd": round(trips * wave[number % 7]) * 21.5,
                "distance_miles": 1,
                "_landing_id": recent,
            }
            for number in range(1, 32)
            for service, borough, trips in (("yellow", "Manhattan", 98_000), ("green", "Queens", 1_400))
        ]
        # three stray trips of the file's next month
        + [
            {
                "trip_date": date(2026, 9, 2),
                "service": "yellow",
                "pickup_borough": "Queens",
                "trips": 3,
                "revenue_usd": 60,
                "distance_miles": 1,
                "_landing_id": recent,
            }
        ],
    )
    held.insert(
        "analytics.dim_city",
        [{"city_id": at, "city_name": city, "_landing_id": recent} for at, (city, _) in enumerate(CITIES)],
    )
    held.insert(
        "analytics.fact_weather_observation",
        [
            {
                "city_id": at,
                "observed_at": NOW - timedelta(hours=back, minutes=10),
                "temperature_celsius": base + (2.5 + at % 4) * wave[(at + back) % 7] - back / 6,
                "_landing_id": recent,
            }
            for at, (_, base) in enumerate(CITIES)
            for back in range(30)
        ],
    )
    sessions = [
        {
            "unique_id": f"{day} {number}",
            "accessed_at": datetime(day.year, day.month, day.day, 8, 0),
            "kilobytes": round(1_000_000 * wave[day.toordinal() % 7]),
            "_landing_id": recent,
        }
        for day in days
        for number in range(40 + day.day)
    ]
    held.insert(
        "analytics.fact_network_usage",
        [
            {
                "unique_id": one["unique_id"],
                "accessed_at": one["accessed_at"],
                "download_speed_mbps": 500,
                "consumed_traffic_kilobytes": one["kilobytes"],
                "_landing_id": recent,
            }
            for one in sessions
        ],
    )
    held.insert(
        "analytics.payment_data",
        [
            {
                "unique_id": one["unique_id"],
                "accessed_at": one["accessed_at"],
                "iban": PERSONAL[2],
                "payment_amount": "250.5",
                "_landing_id": recent,
            }
            for one in sessions
        ],
    )
    collections = (
        ("friendsies", "Friendsies", 120),
        ("cryptodevamigos", "CryptoDevAmigos", 45),
        ("harbour", "<b>$H_b$ & co</b>", 9),
    )
    held.insert(
        "analytics.dim_nft_collection",
        [
            {
                "collection_id": name,
                "collection_name": title,
                "twitter_username": PERSONAL[4],
                "_landing_id": recent,
            }
            for name, title, _ in collections
        ],
    )
    held.insert(
        "analytics.fact_nft_snapshot",
        [
            {
                "nft_key": f"{name} {number}",
                "snapshot_date": day,
                "collection_id": name,
                "estimated_value_usd": None if number == 0 else value * wave[day.toordinal() % 7],
                "_landing_id": recent,
            }
            for name, _, value in collections
            for day in days[-9:]
            for number in range(20)
        ],
    )
    held.insert(
        "analytics.fact_nft_collection_snapshot",
        [
            {
                "collection_id": name,
                "snapshot_date": day,
                "one_day_sales": 4,
                "_landing_id": recent,
            }
            for name, _, _ in collections
            for day in days[-2:]
        ],
    )
    posts = [
        (f"{day} {number}", day, 60 + 9 * (day.toordinal() % 5)) for day in days for number in range(1 + day.day % 4)
    ]
    held.insert(
        "analytics.fact_post",
        [
            {
                "post_id": post,
                "account_id": PERSONAL[4],
                "posted_at": datetime(day.year, day.month, day.day, 12, 0, tzinfo=UTC),
                "post_text": f"by {PERSONAL[0]}",
                "engagements": count,
                "impressions": count * 40,
                "_landing_id": recent,
            }
            for post, day, count in posts
        ],
    )
    held.insert(
        "analytics.fact_post_engagement",
        [
            {
                "post_id": post,
                "snapshot_date": day,
                "account_id": PERSONAL[4],
                "engagements": 10 * (index + 1),
                "_landing_id": recent,
            }
            for post in ("a", "b", "c")
            for index, day in enumerate(days[-2:])
        ],
    )
