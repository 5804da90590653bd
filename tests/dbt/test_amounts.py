"""What files carry as floating point becomes the numeric of two decimals that a plain cast gives, the quick way too."""

import math
import random

from tests.dbt.project import Project
from tests.dbt.samples import trip

ODD = [0.125, 0.375, 1.005, 2.675, -1.005, 12.299999999999999, -0.30000000000000004, 0.0, -0.0, 1e-9, 5e-324]
LARGE = [1e8 + 0.01, 999_999_999.99, 1_000_000_000.01, 9_999_999_999.99, -9_999_999_999.99]


def test_every_amount_is_what_a_cast_gives(project: Project) -> None:
    draw = random.Random(1)  # noqa: S311
    whole = [draw.randint(-(10**9), 10**9) / 100 for _ in range(2_000)]
    between = [draw.uniform(-(10.0 ** draw.randint(0, 9)), 10.0 ** draw.randint(0, 9)) for _ in range(2_000)]
    halves = [draw.randint(-(10**8), 10**8) / 1000 for _ in range(2_000)]
    amounts = [*ODD, *LARGE, *whole, *between, *halves, math.nan, None]
    landing_id = project.load_rows(
        "green_trips", "2024-01", [trip("2024-01-01T00:00:00", fare_amount=one, trip_distance=one) for one in amounts]
    )
    project.build([landing_id], ("stg_tlc__green_trips",))
    assert (
        project.rows(
            "select fare_amount, fare_amount_usd, trip_distance_miles from staging.stg_tlc__green_trips "
            "inner join raw.tlc__green_trips using (_landing_id, _row) "
            "where fare_amount_usd is distinct from cast(fare_amount as numeric(12, 2)) "
            "or trip_distance_miles is distinct from cast(fare_amount as numeric(12, 2))"
        )
        == []
    )
    assert project.rows("select count(*), count(fare_amount_usd) from staging.stg_tlc__green_trips") == [
        (len(amounts), len(amounts) - 1)
    ]
