"""What jsonb cannot hold is replaced, and nothing else is touched."""

import json

import psycopg2
import pytest

from include.warehouse.jsonb import storable
from tests.conftest import Warehouse

CASES = [
    (rb'{"a": "x\u0000y"}', rb'{"a": "x\ufffdy"}'),
    (rb'{"a\u0000": 1}', rb'{"a\ufffd": 1}'),
    (rb'"\\u0000"', rb'"\\u0000"'),  # a backslash and the letters u0000
    (rb'"\\\u0000"', rb'"\\\ufffd"'),
    (rb'"\ud83d\ude00"', rb'"\ud83d\ude00"'),
    (rb'"\uD83D\uDE00 \u0000"', rb'"\uD83D\uDE00 \ufffd"'),
    (rb'"\ud83d"', rb'"\ufffd"'),
    (rb'"\ude00\ud83d"', rb'"\ufffd\ufffd"'),
    (rb'"\ud83d\ud83d\ude00"', rb'"\ufffd\ud83d\ude00"'),
    (rb'"\ud83d\u0041"', rb'"\ufffd\u0041"'),
    (rb'"\\ud83d \" \u00e4 \u0001"', rb'"\\ud83d \" \u00e4 \u0001"'),
]


@pytest.mark.parametrize(("given", "stored"), CASES)
def test_only_escapes_that_jsonb_refuses_are_replaced(given: bytes, stored: bytes) -> None:
    assert storable(given) == stored


@pytest.mark.parametrize("given", [given for given, _ in CASES])
def test_the_database_takes_it_and_refuses_what_was_replaced(warehouse: Warehouse, given: bytes) -> None:
    connection = psycopg2.connect(warehouse.dsn("sluice_loader"))
    with connection.cursor() as cursor:
        cursor.execute("select %s::jsonb", (storable(given).decode(),))
        assert cursor.fetchone() == (json.loads(storable(given)),)
        if storable(given) != given:
            with pytest.raises(psycopg2.Error):
                cursor.execute("select %s::jsonb", (given.decode(),))
    connection.close()
