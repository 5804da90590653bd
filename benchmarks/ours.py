"""The product's own way, for a process that imports no more than its task does (`benchmarks/worker.py`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from include.extract import Api, ApiClient
from include.landing import LandingStore
from include.pipeline import steps
from include.pipeline.model import Load, Source, load_source
from include.pipeline.partition import RunPartition
from local import s3 as seaweed


def store(endpoint_url: str, access_key: str, secret_key: str, bucket: str) -> LandingStore:
    """The landings of a `local.stack.Store`, of which a process of its own has the fields."""
    return LandingStore(seaweed.client(endpoint_url, access_key, secret_key), bucket)


def load_file(s3: Mapping[str, str], landing: steps.Landing, dsn: str) -> Callable[[], object]:
    """The load of a landing of yellow trips."""
    lake, source = store(**s3), load_source("tlc")
    return lambda: steps.load(source, "yellow_trips", [landing], store=lake, dsn=dsn)


def load_documents(s3: Mapping[str, str], landing: steps.Landing, dsn: str, mode: str) -> Callable[[], object]:
    """The load of a landing of weather observations, by key as its source has it or appended."""
    lake, source = store(**s3), observations(mode)
    return lambda: steps.load(source, "observations", [landing], store=lake, dsn=dsn)


def observations(mode: str) -> Source:
    """The source of weather observations, its table keyed (`upsert`) or by landing (`append`)."""
    source = load_source("openweather")
    entity = source.entities["observations"]
    if mode == entity.load.mode:
        return source
    entity = entity.model_copy(update={"load": Load(mode="append")})
    return source.model_copy(update={"entities": {"observations": entity}})


def fetch_cities(
    s3: Mapping[str, str],
    dsn: str,
    api: str,
    partition: str,
    cities: Sequence[str],
    at_once: int,
    calls_per_minute: int,
    minute_seconds: float,
) -> Callable[[], object]:
    """The extraction of cities' weather: asked for, so many at once and within the budget, and landed."""
    lake, source = store(**s3), asking(at_once)
    asked = Api(
        source.connection, api, "0" * 32, "query", "appid", calls_per_minute=calls_per_minute, retries=source.tries - 1
    )

    def work() -> None:
        with ApiClient(asked, minute_seconds=minute_seconds) as client:
            steps.fetch(
                source,
                "observations",
                RunPartition(partition, datetime(2024, 1, 1, tzinfo=UTC)),
                {"cities": cities},
                client=client,
                store=lake,
                dsn=dsn,
                run_id=f"run-{partition}",
            )

    return work


def asking(at_once: int) -> Source:
    """The source of weather observations, asking for so many cities at once."""
    source = load_source("openweather")
    entity = source.entities["observations"]
    assert entity.request is not None
    request = entity.request.model_copy(update={"at_once": at_once})
    return source.model_copy(update={"entities": {"observations": entity.model_copy(update={"request": request})}})


def land_file(s3: Mapping[str, str], path: str, run_id: str) -> Callable[[], object]:
    """The landing of a file that comes in pieces of 64 KiB, hashed on its way."""
    lake = store(**s3)

    def work() -> None:
        with lake.begin(
            source="tlc", entity="yellow_trips", partition="2024-01", run_id=run_id, format="parquet"
        ) as writer:
            writer.add_file(chunks(Path(path)), "parquet")
            writer.commit({})

    return work


def land_documents(s3: Mapping[str, str], path: str, run_id: str) -> Callable[[], object]:
    """The landing of JSON documents, a line each, hashed and compressed on their way."""
    lake = store(**s3)

    def work() -> None:
        with lake.begin(
            source="openweather", entity="observations", partition="2024-01", run_id=run_id, format="json"
        ) as writer:
            with Path(path).open("rb") as file:
                for line in file:
                    writer.add_document(line.rstrip(b"\n"))
            writer.commit({})

    return work


def multipart_upload(s3: Mapping[str, str], path: str, run_id: str) -> Callable[[], object]:
    """What boto3 does by itself with a stream: pieces of 8 MiB, ten threads, no hash."""
    lake = store(**s3)

    def work() -> None:
        with Path(path).open("rb") as file:
            lake.client.upload_fileobj(file, lake.bucket, f"bare/{run_id}")

    return work


def chunks(path: Path, size: int = 64 * 1024) -> Iterator[bytes]:
    """A file as it comes from a network."""
    with path.open("rb") as file:
        while chunk := file.read(size):
            yield chunk
