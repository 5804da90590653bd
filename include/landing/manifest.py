"""What a landing says of itself: the manifest that is written last and makes the landing real."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

Format = Literal["json", "ndjson", "csv", "parquet", "xlsx"]


class LandingError(Exception):
    """A landing is missing, damaged or cannot be read as declared; the message says which, how, and what to do."""


class Part(BaseModel):
    """One object of a landing.

    Attributes:
        name: File name inside the landing's folder, `part-00001.parquet`.
        bytes: Size of the object as stored (compressed, for JSON documents).
        sha256: Hash of the content: of a file as it came, of JSON documents before compression.
        records: Documents in the part; None for files, whose rows nobody has counted yet.
        origin: URI of the object that it is a copy of, where it came from a drop zone.
        origin_etag: That object's ETag when it was copied, which tells it from a later one of the same name.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    bytes: int
    sha256: str
    records: int | None
    origin: str | None = None
    origin_etag: str | None = None


class Refusal(BaseModel):
    """One request of many that the API refused (an unknown city); it is kept, and the others went on.

    Attributes:
        params: The request's parameters, without the key.
        status: HTTP status of the answer.
        message: What the API said.
    """

    model_config = ConfigDict(frozen=True)

    params: dict[str, str]
    status: int
    message: str


class Asked(BaseModel):
    """Documents in a row that answer the same request.

    Attributes:
        values: What the request's variables were, `{"city": "Oslo"}`.
        documents: How many documents, which follow those of the one before.
    """

    model_config = ConfigDict(frozen=True)

    values: dict[str, str]
    documents: int


class Manifest(BaseModel):
    """One landing.

    Attributes:
        landing_id: Microseconds since the epoch when the landing began; rows carry it as `_landing_id`.
        source: Name of the source folder.
        entity: Name of the entity in it.
        partition: `2024-01` for a month, `2026-11-21T13` for an hour, `all` for what has no date.
        run_id: The run that fetched it, as Airflow names it.
        follows: Landings of earlier tries of the run that were loaded already: this one goes on from them. Any other
            earlier try of the same run counts for nothing.
        uri: The landing's folder, `s3://bucket/landing/…/run=…/`.
        format: How the parts are to be read.
        parts: The objects, in order.
        bytes: Their stored size together.
        records: Their documents together; None for files.
        sha256: Hash over the parts' hashes in order: equal content, equal hash.
        request: What was asked (method, url, parameters), without secrets.
        asked: Which documents answer which request, where there were several, in the order of the documents.
        refused: Requests that the API refused.
        fetched_at: When the landing began (UTC): what it holds is at least as new.
        erased_at: When a person was last erased from it (UTC), which is all that ever changes a landing.
    """

    model_config = ConfigDict(frozen=True)

    landing_id: int
    source: str
    entity: str
    partition: str
    run_id: str
    follows: tuple[int, ...] = ()
    uri: str
    format: Format
    parts: tuple[Part, ...]
    bytes: int
    records: int | None
    sha256: str
    request: dict[str, object]
    asked: tuple[Asked, ...] = ()
    refused: tuple[Refusal, ...]
    fetched_at: datetime
    erased_at: datetime | None = None
