"""`./sluice trace TABLE KEY`: from a row that readers have to the bytes that it came from."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from include.landing import LandingError
from include.pipeline.trace import Trace, TraceError, trace
from local.data import landing_store, warehouse_dsn
from local.home import Home, LocalError


def show(home: Home, mart: str, key: str, *, clear: bool) -> int:
    """Print where a row of `analytics` comes from, and what stands there.

    Args:
        home: The stack whose warehouse and S3 are asked.
        mart: Name of the table in `analytics`.
        key: Its primary key; values of a composite one with commas between them.
        clear: Show personal values too.

    Returns:
        0 when the row was found.

    Raises:
        LocalError: There is no such row, or its landing cannot be read.
    """
    try:
        found = trace(
            warehouse_dsn(home, "operator"),
            landing_store(home),
            home.dbt_target / "manifest.json",
            mart,
            key,
            reader_dsn=warehouse_dsn(home, "pii_reader"),
            clear=clear,
        )
    except (TraceError, LandingError) as fault:
        raise LocalError(str(fault)) from None
    print("\n".join(lines(found, clear=clear)))
    return 0


def lines(found: Trace, *, clear: bool) -> list[str]:
    """What is printed of a trace."""
    told = [_line("row", f"analytics.{found.mart}", found.key)]
    if (landing := found.landing) is not None:
        told += [
            _line("landing", str(landing.landing_id), {"fetched_at": landing.fetched_at.isoformat()}),
            _line("uri", landing.uri, {}),
            _line("request", json.dumps(landing.request, ensure_ascii=False), {}),
            _line("sha256", landing.sha256, {}),
        ]
    if (place := found.place) is not None and landing is not None:
        told.append(_line("object", landing.uri + place.part.name, {"sha256": place.part.sha256}))
        if place.part.origin:
            told.append(_line("origin", place.part.origin, {"etag": place.part.origin_etag}))
        if place.asked:
            told.append(_line("asked for", "", place.asked))
        told.append(_line("position", "", {"row": place.row, **place.where}))
        told += ["", found.shown, ""]
        if found.masked:
            told.append(f"masked: {', '.join(found.masked)} (personal; --clear shows them)")
        elif clear:
            told.append("in clear: values of personal columns are shown, for --clear was given")
    if found.note:
        told.append(f"note: {found.note}")
    if found.rows_query:
        told += ["", f"{found.rows_query};", ""]
        told += [_line("  made of", "", row) for row in found.rows] or ["  made of no row that is published"]
    return told


def _line(name: str, value: str, more: Mapping[str, Any]) -> str:
    pairs: Sequence[str] = [f"{key}={one}" for key, one in more.items()]
    return f"{name:<11}{'  '.join(filter(None, [value, *pairs]))}"
