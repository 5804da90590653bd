"""How a batch of each source goes bad before the gate of each layer."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Bad:
    """How a source's batch goes bad.

    Attributes:
        source: The source.
        conf: The run's parameters: a batch that is not there yet.
        api: What the API does wrong before the gate of landing: a fault of the sandbox, and
        fetches: the entities that have to be fetched again when it is mended.
        raw: What the raw table suffers before the gate of raw, and
        staging: before the gate of staging: SQL with the table and the batch's condition to be filled in.
        said: Layer -> pattern of what the gate has to say of it: table, what it expected, what it saw.
    """

    source: str
    conf: Mapping[str, object]
    api: Mapping[str, object]
    fetches: tuple[str, ...]
    raw: str
    staging: str
    said: Mapping[str, str]


BAD = (
    Bad(
        "tlc",
        {"services": ["green"], "date": "2024-05-01"},
        {"path": "/trip-data/*", "method": "GET", "kind": "body", "text": "<html>"},
        ("green_trips",),
        "update {raw} set total_amount = null where {batch}",
        "update {raw} set lpep_pickup_datetime = null where {batch}",
        {
            "landing": "green_trips.*not a Parquet file",
            "raw": "tlc__green_trips.*total_amount",
            "staging": "stg_tlc__green_trips.*pickup_at",
            "marts": "fact_taxi_trip",
        },
    ),
    Bad(
        "openweather",
        {"cities": ["Berlin", "Lima", "Oslo", "Paris"], "date": "2026-11-21"},
        {"path": "/data/2.5/weather", "query": {"q": "[!B]*"}, "kind": "status", "code": 404},
        ("observations",),
        "delete from {raw} where {batch} and _row > 0",
        "update {raw} set payload = jsonb_set(payload, array['main', 'temp'], '20') where {batch}",
        {
            "landing": r"observations.*refused_share.*0\.75",
            "raw": "openweather__observations",
            "staging": r"stg_openweather__observations.*temperature_kelvin",
            "marts": "fact_weather_observation",
        },
    ),
    Bad(
        "driven",
        {"date": "2026-11-21"},
        {"path": "/driven/*", "kind": "edit", "records": "data", "remove": ["phone"]},
        ("sessions",),
        """update {raw} set payload = jsonb_set(payload, array['session_duration'], '"long"') where {batch}""",
        "update {raw} set payload = jsonb_set(payload, array['download_speed'], '5000') where {batch}",
        {
            "landing": "sessions.*missing_columns.*phone",
            "raw": "driven__sessions",
            "staging": "stg_driven__sessions.*download_speed_mbps",
            "marts": "fact_network_usage",
        },
    ),
    Bad(
        "opensea",
        {"date": "2026-11-21"},
        {"path": "/api/v2/collections/[cf]*", "kind": "status", "code": 404},
        ("collections", "stats"),
        "update {raw} set payload = jsonb_set(payload, array['identifier'], '7') where {batch}",
        """update {raw} set payload = jsonb_set(payload, array['identifier'], '"none"') where {batch}""",
        {
            "landing": "collections.*refused_share",
            "raw": "opensea__nfts",
            "staging": "stg_opensea__nfts",
            "marts": "fact_nft_snapshot",
        },
    ),
    Bad(
        "x",
        {"date": "2026-11-21"},
        {"path": "/2/users/by/username/*", "kind": "status", "code": 200, "body": {"errors": [{"title": "Not Found"}]}},
        ("accounts", "posts"),
        "update {raw} set payload = payload - 'text' - 'note_tweet' where {batch}",
        "update {raw} set payload = jsonb_set(payload, array['public_metrics', 'like_count'], '-5') where {batch}",
        {"landing": "accounts.*records", "raw": "x__posts", "staging": "stg_x__posts.*likes", "marts": "fact_post"},
    ),
)
