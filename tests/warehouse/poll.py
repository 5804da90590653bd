"""A reader in a process of its own: asks two published tables again and again, and tells what it saw when it is ended.

Every row of both tables has a `version`, and one publish gives all of them another one. So whoever sees two versions
at once has seen a mix of two publishes. Two ways are tried in turn: two queries in one repeatable read transaction, and
one query that joins the tables.

Run as `python tests/warehouse/poll.py DSN`. A line `ready` is written after the first poll, a line of JSON at the end
of the input: {"polls", "seconds", "versions", "mixes", "example"}.
"""

import json
import select
import sys
import time

import psycopg2

FACTS, CITIES = "select distinct version from analytics.fact_sale", "select distinct version from analytics.dim_city"
JOINED = (
    "select distinct fact_sale.version, dim_city.version from analytics.fact_sale "
    "full join analytics.dim_city on fact_sale.sale_id = dim_city.city_id"
)


def main(dsn: str) -> None:
    """Poll until the input ends."""
    connection = psycopg2.connect(dsn)
    connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
    versions: set[int] = set()
    polls, mixes, example, began = 0, 0, None, time.monotonic()
    while not select.select([sys.stdin], [], [], 0)[0]:
        with connection, connection.cursor() as cursor:
            seen: set[int | None] = set()
            for query in (FACTS, CITIES) if polls % 2 else (JOINED,):
                cursor.execute(query)
                seen.update(value for row in cursor.fetchall() for value in row)
        if len(seen) != 1:
            mixes, example = mixes + 1, sorted(map(str, seen))
        versions.update(value for value in seen if value is not None)
        polls += 1
        if polls == 1:
            sys.stdout.write("ready\n")
            sys.stdout.flush()
    told = {"polls": polls, "seconds": time.monotonic() - began, "versions": len(versions), "mixes": mixes}
    sys.stdout.write(json.dumps(told | {"example": example}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
