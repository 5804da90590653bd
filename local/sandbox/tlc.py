"""The file host of the New York taxi commission: trip months as Parquet, the zone table as CSV.

Stands in for `https://d37ci6vzurychx.cloudfront.net`. It behaves as S3 behind CloudFront does: HEAD, ETag,
Last-Modified, ranges and conditional requests, and 403 with an XML body for every key that is not there, such as a
month not published.
"""

import hashlib
import re
import tempfile
import threading
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse

from local.sandbox import newyork, trips
from local.sandbox.newyork import Service
from local.sandbox.settings import Settings

NAME = "tlc"
MONTHS_OF_DELAY = 2
_TRIPS = re.compile(r"(?P<service>yellow|green)_tripdata_(?P<month>[0-9]{4}-(0[1-9]|1[0-2]))\.parquet")
_ZONES = Path(__file__).with_name("taxi_zone_lookup.csv")
_ZONES_MODIFIED = datetime(2022, 8, 17, 15, 33, 34, tzinfo=UTC)
_ACCESS_DENIED = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    "<Error><Code>AccessDenied</Code><Message>Access Denied</Message>"
    "<RequestId>{request_id}</RequestId><HostId>{host_id}</HostId></Error>"
)


def router(settings: Settings) -> APIRouter:
    """The routes of the file host."""
    routes = APIRouter(tags=[NAME])
    cache = _Cache(settings.cache_dir)
    folder = settings.data / NAME if settings.data else None

    # Plain functions: FastAPI runs them on its threads, so that making a month does not stop the others' answers.
    @routes.api_route("/trip-data/{name}", methods=["GET", "HEAD"])
    def trip_data(name: str, request: Request) -> Response:
        """A month of trips: `{yellow|green}_tripdata_YYYY-MM.parquet`."""
        found = _TRIPS.fullmatch(name)
        if found is None:
            return _denied(request)
        if folder and (real := folder / name).is_file():
            return _file(request, real, _modified(real), "binary/octet-stream")
        service: Service = "green" if found["service"] == "green" else "yellow"
        month = found["month"]
        if not trips.FIRST_MONTH[service] <= month or published_at(month) > settings.clock():
            return _denied(request)
        rows = settings.yellow_rows if service == "yellow" else settings.green_rows
        made = cache.get(f"{service}-{month}-{rows}", lambda path: trips.write_month(service, month, rows, path))
        return _file(request, made, published_at(month), "binary/octet-stream")

    @routes.api_route("/misc/taxi_zone_lookup.csv", methods=["GET", "HEAD"])
    def zones(request: Request) -> Response:
        """The 265 taxi zones."""
        if folder and (real := folder / _ZONES.name).is_file():
            return _file(request, real, _modified(real), "text/csv")
        return _file(request, _ZONES, _ZONES_MODIFIED, "text/csv")

    @routes.api_route("/misc/{name}", methods=["GET", "HEAD"], include_in_schema=False)
    def other(request: Request) -> Response:
        return _denied(request)

    return routes


def published_at(month: str) -> datetime:
    """When a month such as 2024-01 comes out: at the start of the second month after it, UTC."""
    year, number = (int(part) for part in month.split("-"))
    index = year * 12 + number - 1 + MONTHS_OF_DELAY
    return datetime(index // 12, index % 12 + 1, 1, tzinfo=UTC)


class _Cache:
    """Generated files, made once each: state is the folder and a lock a file."""

    def __init__(self, folder: Path) -> None:
        # The generator's own text is part of the key, so that a kept file never outlives a change of what makes it.
        sources = (Path(trips.__file__), Path(newyork.__file__), _ZONES)
        self._version = hashlib.sha256(
            b"".join(path.read_bytes() for path in sources) + pa.__version__.encode()
        ).hexdigest()[:12]
        self._folder = folder
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def get(self, key: str, write: Callable[[Path], None]) -> Path:
        path = self._folder / f"{key}-{self._version}.parquet"
        with self._locks[key]:
            if not path.is_file():
                self._folder.mkdir(parents=True, exist_ok=True)
                with tempfile.NamedTemporaryFile(dir=self._folder, suffix=".part", delete=False) as part:
                    unfinished = Path(part.name)
                try:
                    write(unfinished)
                    unfinished.replace(path)
                finally:
                    unfinished.unlink(missing_ok=True)
        return path


def _file(request: Request, path: Path, modified: datetime, media_type: str) -> Response:
    stat = path.stat()
    headers = {
        "ETag": _etag(path, stat.st_mtime_ns, stat.st_size),
        "Last-Modified": format_datetime(modified, usegmt=True),
    }
    if _is_unchanged(request, headers["ETag"], modified):
        return Response(status_code=304, headers=headers)
    return FileResponse(path, headers=headers, media_type=media_type, stat_result=stat)


@lru_cache(maxsize=1024)
def _etag(path: Path, _mtime_ns: int, _size: int) -> str:
    """S3's ETag of an object uploaded in one part: the MD5 of its bytes."""
    with path.open("rb") as file:
        return f'"{hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()}"'


def _is_unchanged(request: Request, etag: str, modified: datetime) -> bool:
    if (tags := request.headers.get("if-none-match")) is not None:
        return tags.strip() == "*" or etag in [tag.strip().removeprefix("W/") for tag in tags.split(",")]
    if (since := request.headers.get("if-modified-since")) is not None:
        try:
            return modified <= parsedate_to_datetime(since)
        except (ValueError, TypeError):
            return False
    return False


def _modified(path: Path) -> datetime:
    return datetime.fromtimestamp(int(path.stat().st_mtime), UTC)


def _denied(request: Request) -> Response:
    digest = hashlib.sha256(request.url.path.encode()).hexdigest()
    body = _ACCESS_DENIED.format(request_id=digest[:16].upper(), host_id=digest)
    return Response(body, 403, media_type="application/xml")
