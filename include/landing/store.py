"""Landings in S3: written once and whole, read as streams.

Keys: `landing/<source>/<entity>/dt=<partition>/run=<run id>/part-00001.<ext>` and, last of all, `_manifest.json`.
No manifest, no landing. A second try of the same run writes `run=<run id>.2/`, a third `.3/`, and so on: whoever begins
claims its folder by creating `_started` there, which S3 grants to one alone (`If-None-Match: *`), so that a retry and
the worker that it replaces, should that one still be alive, never write into the same folder. Once a later try has
claimed a folder, or `_started` is gone, the earlier one can commit no more. A landing that is given up leaves nothing
behind. One that was killed leaves its `_started` and maybe parts, which nobody reads, and which `sweep` removes later.
"""

from __future__ import annotations

import codecs
import hashlib
import io
import itertools
import logging
import re
import tempfile
import threading
import time
import zlib
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, get_args

import pyarrow as pa
from botocore.exceptions import BotoCoreError, ClientError

from include.landing.arriving import Arriving, OtherEnd
from include.landing.manifest import Asked, Format, LandingError, Manifest, Part, Refusal
from include.objects import Upload

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

logger = logging.getLogger(__name__)

MANIFEST = "_manifest.json"
STARTED = "_started"

_PART_CONTENT_BYTES = 256 * 1024 * 1024  # documents before compression in one part; by content, so that equal is equal
_READ_BYTES = 1024 * 1024
_LARGE_BYTES = 8 * 1024 * 1024
_END_BYTES = 128 * 1024  # of a file that is read while it arrives: in these Parquet says where what is
_LINE_BYTES = 64 * 1024 * 1024  # a document: Postgres takes a jsonb of up to 255 MiB, and a few are in memory at once
_GZIP_MAGIC = b"\x1f\x8b"  # which no JSON begins with
# JSON knows newlines as white space alone (RFC 8259, section 2), and tabs too; inside of a string neither is JSON, so
# that what was none stays none.
_NEWLINES = bytes.maketrans(b"\r\n", b"\t\t")
_NAME = re.compile(r"[A-Za-z0-9_.:-]+")
_EXTENSION = re.compile(r"[a-z0-9]+(\.[a-z0-9]+)*")
_READ_AT_ONCE = 8  # manifests; boto3 holds ten connections


@dataclass(frozen=True)
class Swept:
    """What a sweep has removed: folders (URIs) without a manifest, and uploads that were never completed."""

    folders: tuple[str, ...]
    objects: int
    uploads: int


@dataclass(frozen=True)
class Dropped:
    """An object of the drop zone: its URI, and the ETag that tells its content from a later one's."""

    uri: str
    etag: str


class LandingStore:
    """All landings of one bucket.

    Args:
        client: A boto3 S3 client; its credentials must allow to list, get, put and delete below `landing/`.
        bucket: Name of the bucket.
    """

    def __init__(self, client: S3Client, bucket: str) -> None:
        self.client = client
        self.bucket = bucket

    @contextmanager
    def begin(
        self, *, source: str, entity: str, partition: str, run_id: str, format: Format
    ) -> Iterator[LandingWriter]:
        """Begin a landing; it becomes real by `commit`, and leaving without that removes all that was written.

        Args:
            source: Name of the source folder.
            entity: Name of the entity.
            partition: The logical date as the partition says it (`2024-01`, `2026-11-21T13`, `all`).
            run_id: The run that fetches; in the key, all but letters, digits and `._-` become `-`.
            format: How the parts are to be read: `json` for documents, `ndjson`, `csv`, `parquet` or `xlsx` for files.

        Yields:
            The writer. It is not thread-safe.

        Raises:
            ValueError: A name cannot be part of a key, or the format is unknown.
            LandingError: The bucket does not exist.
        """
        for what, name in {"source": source, "entity": entity, "partition": partition}.items():
            if not _NAME.fullmatch(name):
                raise ValueError(f"{what} {name!r} cannot be part of a landing's key: use letters, digits and _.:-")
        if format not in get_args(Format):
            raise ValueError(f"format {format!r} is not one of {', '.join(get_args(Format))}")
        landing_id = _next_landing_id()
        writer = LandingWriter(
            self,
            folder=self._claim(f"{_prefix(source, entity, partition)}run={_safe(run_id)}", landing_id, run_id),
            about={
                "landing_id": landing_id,
                "source": source,
                "entity": entity,
                "partition": partition,
                "run_id": run_id,
                "format": format,
                "fetched_at": datetime.fromtimestamp(landing_id / 1_000_000, tz=UTC),
            },
        )
        try:
            yield writer
        finally:
            if writer.committed is None:
                writer.abort()

    def landings(self, source: str, entity: str, partition: str | None = None) -> Iterator[Manifest]:
        """The landings of an entity that count, oldest first: what raw is to be rebuilt from.

        Of a run that landed the same partition several times (it was retried) the last one counts, and of its earlier
        ones those alone that it follows: they had been loaded when it began.

        Args:
            source: Name of the source folder.
            entity: Name of the entity.
            partition: One partition's label; None for all.
        """
        prefix = _prefix(source, entity, partition) if partition else f"landing/{source}/{entity}/"
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        keys = [
            entry["Key"]
            for page in pages
            for entry in page.get("Contents", [])
            if entry["Key"].endswith(f"/{MANIFEST}")
        ]
        with ThreadPoolExecutor(_READ_AT_ONCE) as pool:
            found = sorted(pool.map(self._read, keys), key=lambda manifest: manifest.landing_id)
        last = {(manifest.partition, manifest.run_id): manifest for manifest in found}
        for manifest in found:
            of_run = last[manifest.partition, manifest.run_id]
            if manifest is of_run or manifest.landing_id in of_run.follows:
                yield manifest

    def sweep(self, grace: timedelta) -> Swept:
        """Remove what landings that were killed have left: folders without a manifest, and unfinished uploads.

        Args:
            grace: How long nothing must have been written into a folder, and how long ago an upload must have begun.
                More than any landing takes: one that still goes on is given up by it.
        """
        before = datetime.now(UTC) - grace
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix="landing/")
        entries = (entry for page in pages for entry in page.get("Contents", []))
        folders, objects = [], 0
        # keys come sorted, so those of a folder together
        for folder, listed in itertools.groupby(entries, lambda entry: entry["Key"].rpartition("/")[0] + "/"):
            times = {entry["Key"].removeprefix(folder): entry["LastModified"] for entry in listed}
            if MANIFEST in times or max(times.values()) > before or "/run=" not in folder:
                continue
            # The claim first: from here on a writer that is still there cannot commit. One that just has, stays.
            self.client.delete_object(Bucket=self.bucket, Key=folder + STARTED)
            if self._has(folder + MANIFEST):
                continue
            for name in times:
                self.client.delete_object(Bucket=self.bucket, Key=folder + name)
            folders.append(f"s3://{self.bucket}/{folder}")
            objects += len(times)
            logger.info("swept uri=%s objects=%d newest=%s", folders[-1], len(times), max(times.values()).isoformat())
        uploads = 0
        for listing in self.client.get_paginator("list_multipart_uploads").paginate(
            Bucket=self.bucket, Prefix="landing/"
        ):
            for upload in listing.get("Uploads", []):
                if upload["Initiated"] <= before:
                    self.client.abort_multipart_upload(
                        Bucket=self.bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                    )
                    logger.info("upload_aborted key=%s initiated=%s", upload["Key"], upload["Initiated"].isoformat())
                    uploads += 1
        return Swept(tuple(folders), objects, uploads)

    def read(self, uri: str) -> Manifest:
        """The manifest of the landing at a URI (`s3://bucket/landing/…/run=…/`, as `Manifest.uri` has it).

        Raises:
            ValueError: The URI is of another bucket or no landing.
            LandingError: There is no manifest, so no landing.
        """
        root = f"s3://{self.bucket}/"
        if not uri.startswith(f"{root}landing/"):
            raise ValueError(f"{uri!r} is not a landing of this bucket: a landing's URI begins with {root}landing/")
        return self._read(self._key(uri).rstrip("/") + f"/{MANIFEST}")

    @contextmanager
    def open_part(self, manifest: Manifest, part: Part) -> Iterator[BinaryIO]:
        """The content of a part as a seekable local file, complete and checked, for as long as the context lasts.

        It lies on disk as a nameless temporary file (in TMPDIR), never in memory. JSON documents come decompressed.

        Raises:
            LandingError: The object is gone, or is not what the manifest says.
        """
        with tempfile.TemporaryFile() as file:
            for chunk in self._content(manifest, part):
                file.write(chunk)
            file.seek(0)
            yield file

    @contextmanager
    def arriving_part(self, manifest: Manifest, part: Part) -> Iterator[BinaryIO]:
        """The file of a part like that of `open_part`, but a large one of Parquet is read while it arrives.

        It is checked when the context ends, so what was read counts then and not before. Its end is there from the
        beginning, and the rest is asked for when it is read.

        Raises:
            LandingError: The object is gone, or is not what the manifest says.
        """
        if manifest.format != "parquet" or part.bytes < _LARGE_BYTES:
            with self.open_part(manifest, part) as file:
                yield file
            return
        uri = manifest.uri + part.name
        end = b"".join(self._received(uri, f"bytes=-{_END_BYTES}"))
        try:
            with Arriving(self._content(manifest, part), part.bytes, end) as arriving:
                yield io.BufferedReader(arriving)
        except OtherEnd:
            raise LandingError(f"{uri}: it was changed while it was read: run this again") from None

    def iter_documents(self, manifest: Manifest, part: Part | None = None) -> Iterator[bytes]:
        """The raw JSON payloads of a landing in their order, streamed; of one part alone if one is given.

        Of NDJSON files (https://github.com/ndjson/ndjson-spec), as they came or compressed with gzip: each line that is
        not empty, without the byte order mark that may open the file.

        Raises:
            LandingError: The landing holds rows; a document is longer than 64 MiB; or an object is gone or is not what
                the manifest says, which is known for certain only after the part's last document.
        """
        for each in manifest.parts if part is None else (part,):
            for _, document in self.iter_lines(manifest, each):
                yield document

    def iter_lines(self, manifest: Manifest, part: Part) -> Iterator[tuple[int, bytes]]:
        """The documents of a part as `iter_documents` gives them, each with the number of its line, from 1."""
        if manifest.format not in ("json", "ndjson"):
            raise LandingError(f"{manifest.uri} holds {manifest.format} files, not JSON documents: open its parts")
        uri = manifest.uri + part.name
        content = self._content(manifest, part)
        if manifest.format == "json":
            for number, document in enumerate(_lines(content, uri), start=1):
                yield number, document if part.origin is None else document.removeprefix(codecs.BOM_UTF8)
            return
        for number, line in enumerate(_lines(_gunzipped(content, uri), uri), start=1):
            if document := (line.removeprefix(codecs.BOM_UTF8) if number == 1 else line).rstrip(b" \t\r"):
                yield number, document

    def dropped(self, prefix: str, pattern: str) -> list[Dropped]:
        """The objects of the drop zone below a prefix whose keys match a glob, in the order of their keys."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return [
            Dropped(f"s3://{self.bucket}/{entry['Key']}", entry["ETag"])
            for page in pages
            for entry in page.get("Contents", [])
            if fnmatchcase(entry["Key"], pattern) and not entry["Key"].endswith("/")
        ]

    def read_dropped(self, file: Dropped) -> Iterator[bytes]:
        """The bytes of a dropped file, as it was when it was listed.

        Raises:
            LandingError: It has been removed or replaced since.
        """
        try:
            answer = self.client.get_object(Bucket=self.bucket, Key=self._key(file.uri), IfMatch=file.etag)
        except ClientError as fault:
            if fault.response["Error"]["Code"] not in ("NoSuchKey", "PreconditionFailed", "412"):
                raise
            raise LandingError(f"{file.uri}: it was removed or replaced while it was taken; run this again") from None
        with answer["Body"] as body:
            while chunk := body.read(_READ_BYTES):
                yield chunk

    def _content(self, manifest: Manifest, part: Part) -> Generator[bytes]:
        """What a part holds, decompressed if it is compressed, and checked against the manifest's hash."""
        uri = manifest.uri + part.name
        seen = hashlib.sha256()
        for chunk in self._received(uri, is_zstd=manifest.format == "json"):
            seen.update(chunk)
            yield chunk
        if seen.hexdigest() != part.sha256:
            raise LandingError(
                f"{uri}: its content has sha256 {seen.hexdigest()}, and its manifest says {part.sha256}: "
                "it was changed after landing; restore it, or land it again"
            )

    def _received(self, uri: str, only: str | None = None, *, is_zstd: bool = False) -> Iterator[bytes]:
        """The bytes of an object of a landing, all or some (`bytes=-100`), decompressed if it is said to be zstd."""
        try:
            get = partial(self.client.get_object, Bucket=self.bucket, Key=self._key(uri))
            with (get(Range=only) if only else get())["Body"] as body:
                stream = pa.CompressedInputStream(pa.PythonFile(body, "r"), "zstd") if is_zstd else body
                while chunk := stream.read(_READ_BYTES):
                    yield chunk
        except self.client.exceptions.NoSuchKey:
            raise LandingError(f"{uri}: its manifest names it, but it is gone: restore it, or land it again") from None
        except OSError as fault:  # what Arrow raises for a stream that is not zstd, or not all of it
            raise LandingError(f"{uri}: {fault}: it was changed after landing; restore it, or land it again") from None

    def _key(self, uri: str) -> str:
        return uri.removeprefix(f"s3://{self.bucket}/")

    def _read(self, key: str) -> Manifest:
        try:
            body = self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        except self.client.exceptions.NoSuchKey:
            raise LandingError(
                f"s3://{self.bucket}/{key}: there is no such manifest, so this landing never happened: "
                "check the URI in ops.landing, or land it again"
            ) from None
        return Manifest.model_validate_json(body)

    def _has(self, key: str) -> bool:
        found = self.client.list_objects_v2(Bucket=self.bucket, Prefix=key, MaxKeys=1)
        return any(entry["Key"] == key for entry in found.get("Contents", []))

    def _later_try(self, folder: str, run_id: str) -> str | None:
        """The folder of a later try of a run than the one of `folder`, if there is one."""
        first = folder.removesuffix("/")
        number = 1
        if not first.endswith(f"/run={_safe(run_id)}"):
            first, _, tried = first.rpartition(".")
            number = int(tried)
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=f"{first}.")
        for entry in (entry for page in pages for entry in page.get("Contents", [])):
            other, _, name = entry["Key"].rpartition("/")
            tried = other.removeprefix(f"{first}.")
            # the name of another run may begin like this one's
            if name in (STARTED, MANIFEST) and tried.isdecimal() and int(tried) > number:
                try:
                    body = self.client.get_object(Bucket=self.bucket, Key=entry["Key"])["Body"].read()
                except self.client.exceptions.NoSuchKey:
                    # That try has ended since the listing: by a manifest, or by leaving nothing.
                    return self._later_try(folder, run_id)
                of_run = _run_of_claim(body) if name == STARTED else Manifest.model_validate_json(body).run_id
                if of_run == run_id:
                    return f"s3://{self.bucket}/{other}/"
        return None

    def _claim(self, run: str, landing_id: int, run_id: str) -> str:
        """Make the first folder of a run that nobody holds ours, and return its key (`…/run=x/`, `…/run=x.2/`, …)."""
        for attempt in itertools.count(1):
            folder = f"{run}/" if attempt == 1 else f"{run}.{attempt}/"
            try:
                self.client.put_object(
                    Bucket=self.bucket, Key=folder + STARTED, Body=f"{landing_id} {run_id}".encode(), IfNoneMatch="*"
                )
            except self.client.exceptions.NoSuchBucket:
                raise LandingError(
                    f"s3://{self.bucket}: there is no such bucket: create it, or correct SLUICE_BUCKET"
                ) from None
            except ClientError as fault:
                if _is_taken(fault):
                    continue
                raise
            # Whoever committed there has removed its claim, after writing the manifest: look for that only now.
            found = self.client.list_objects_v2(Bucket=self.bucket, Prefix=folder + MANIFEST)
            if not found.get("KeyCount"):
                return folder
            self.client.delete_object(Bucket=self.bucket, Key=folder + STARTED)
        raise AssertionError("unreachable: the count has no end")


class LandingWriter:
    """Writes one landing; made by `LandingStore.begin`.

    Memory is bounded by four upload pieces (8 MiB each) and the document or chunk in hand, whatever the landing's size.
    """

    def __init__(self, store: LandingStore, folder: str, about: Mapping[str, Any]) -> None:
        self.committed: Manifest | None = None
        self._store = store
        self._folder = folder
        self._about = about
        self._parts: list[Part] = []
        self._refused: list[Refusal] = []
        self._asked: list[Asked] = []
        self._documents: _DocumentPart | None = None
        self._uploads: list[Upload] = []
        self._sealed = False
        self._manifest_may_be_there = False

    def add_document(
        self,
        body: bytes,
        *,
        values: Mapping[str, str] | None = None,
        origin: str | None = None,
        origin_etag: str | None = None,
    ) -> None:
        """Add one JSON payload as the next line of the current zstd NDJSON part.

        It is stored byte for byte, but for raw newlines, which become tabs: JSON has both as white space alone.
        Nothing looks inside: whether it is JSON is the gate's question.

        Args:
            body: The payload: an API's answer, or a whole JSON file, however it is indented.
            values: What the variables of the request were that it answers.
            origin: URI of the file, if it is one; it becomes a part of its own then, and its byte order mark, if it
                has one, is left out when it is read.
            origin_etag: The file's ETag.

        Raises:
            ValueError: The landing is of files.
        """
        if self._about["format"] != "json":
            raise ValueError(f"this landing is of {self._about['format']} files: use add_file")
        if origin is not None:
            self._end_documents()
        if self._documents is None:
            self._documents = _DocumentPart(self._begin_part("ndjson.zst"), origin, origin_etag)
        self._documents.add(body.translate(_NEWLINES) + b"\n")
        if values is not None:
            last = self._asked.pop() if self._asked and self._asked[-1].values == values else None
            self._asked.append(Asked(values=dict(values), documents=1 + (last.documents if last else 0)))
        if origin is not None or self._documents.content_bytes >= _PART_CONTENT_BYTES:
            self._end_documents()

    def add_file(
        self, chunks: Iterable[bytes], extension: str, *, origin: str | None = None, origin_etag: str | None = None
    ) -> None:
        """Add one file as it came, as a part of its own.

        Args:
            chunks: The file's bytes in pieces of any size, taken as a stream.
            extension: Its name's ending, `parquet`, `csv`, `xlsx`, `ndjson` or `ndjson.gz`.
            origin: URI of the object that it is a copy of, if it was dropped as one (`s3://bucket/drop/…`).
            origin_etag: That object's ETag.

        Raises:
            ValueError: The landing is of documents, or the extension is none.
        """
        if self._about["format"] == "json":
            raise ValueError("this landing is of JSON documents: use add_document")
        if not _EXTENSION.fullmatch(extension):
            raise ValueError(f"extension {extension!r} is none: give it as 'parquet' or 'csv'")
        upload = self._begin_part(extension)
        seen = hashlib.sha256()
        for chunk in chunks:
            seen.update(chunk)
            upload.write(chunk)
        self._end_part(upload, sha256=seen.hexdigest(), records=None, origin=origin, origin_etag=origin_etag)

    @property
    def refused(self) -> int:
        """How many requests the API has refused."""
        return len(self._refused)

    def refuse(self, params: Mapping[str, str], status: int, message: str) -> None:
        """Record one request that the API refused, without its key; the landing goes on."""
        self._refused.append(Refusal(params=dict(params), status=status, message=message))

    def seal(self) -> str:
        """End the last part; nothing can be added from here on.

        Returns:
            The hash that the manifest will have: equal content, equal hash. Who finds that an earlier landing has the
            same may leave without a commit.
        """
        self._end_documents()
        self._sealed = True
        return hashlib.sha256("".join(part.sha256 for part in self._parts).encode()).hexdigest()

    @property
    def is_retry(self) -> bool:
        """Whether the run has begun to land the same partition before."""
        return not self._folder.endswith(f"/run={_safe(self._about['run_id'])}/")

    def draft(self, request: Mapping[str, object] | None = None, *, follows: Sequence[int] = ()) -> Manifest:
        """What `commit` would write: with it the store reads what was added, before anybody else can."""
        sha256 = self.seal()
        counts = [part.records for part in self._parts if part.records is not None]
        return Manifest(
            **self._about,
            uri=f"s3://{self._store.bucket}/{self._folder}",
            parts=tuple(self._parts),
            bytes=sum(part.bytes for part in self._parts),
            records=sum(counts) if self._about["format"] == "json" else None,
            sha256=sha256,
            request=dict(request or {}),
            follows=tuple(follows),
            asked=tuple(self._asked),
            refused=tuple(self._refused),
        )

    def commit(self, request: Mapping[str, object], *, follows: Sequence[int] = ()) -> Manifest:
        """Make the landing real by writing its manifest, once and for all.

        Args:
            request: What was asked: method, url, parameters; JSON values, no secrets.
            follows: Landings of earlier tries of the run that count too: see `Manifest.follows`.

        Returns:
            The manifest as it was written.

        Raises:
            LandingError: The folder holds a manifest already, a later try of the run has begun to land the same, or
                what was landed has been swept meanwhile.
        """
        if self.committed is not None:
            raise LandingError(f"{self.committed.uri} is committed already")
        manifest = self.draft(request, follows=follows)
        self._check_claim()
        self._put_manifest(manifest.model_dump_json(indent=2).encode())
        self._check_claim()
        self.committed = manifest
        self._store.client.delete_object(Bucket=self._store.bucket, Key=self._folder + STARTED)
        logger.info(
            "landed source=%s entity=%s partition=%s landing_id=%d parts=%d bytes=%d records=%s refused=%d "
            "seconds=%.1f uri=%s",
            manifest.source,
            manifest.entity,
            manifest.partition,
            manifest.landing_id,
            len(manifest.parts),
            manifest.bytes,
            manifest.records,
            len(manifest.refused),
            time.time() - manifest.landing_id / 1_000_000,
            manifest.uri,
        )
        return manifest

    def abort(self) -> None:
        """Remove all that was written. Leaving `LandingStore.begin` without a commit does this."""
        client, bucket = self._store.client, self._store.bucket
        try:
            for upload in self._uploads:
                upload.abort()
            names = [upload.name for upload in self._uploads]
            for name in (MANIFEST, *names, STARTED) if self._manifest_may_be_there else (*names, STARTED):
                client.delete_object(Bucket=bucket, Key=self._folder + name)
        except (BotoCoreError, ClientError) as fault:
            # The reason for giving up matters more than this, and without a manifest nobody reads the rest.
            logger.warning("landing_not_removed uri=s3://%s/%s fault=%s", bucket, self._folder, fault)
        else:
            logger.info("landing_given_up uri=s3://%s/%s", bucket, self._folder)

    def _check_claim(self) -> None:
        """See that the folder is still this writer's; behind the manifest too, for a sweep may come between."""
        store, uri = self._store, f"s3://{self._store.bucket}/{self._folder}"
        if not store._has(self._folder + STARTED):
            raise LandingError(
                f"{uri}: it was swept while it was written, for it had stood still too long: run it again"
            )
        if later := store._later_try(self._folder, self._about["run_id"]):
            raise LandingError(f"{uri}: a later try of the run has taken over at {later}: this one lands nothing")

    def _put_manifest(self, body: bytes) -> None:
        client, bucket, key = self._store.client, self._store.bucket, self._folder + MANIFEST
        self._manifest_may_be_there = True  # from here on, even if S3's answer gets lost
        try:
            client.put_object(Bucket=bucket, Key=key, Body=body, ContentType="application/json", IfNoneMatch="*")
        except ClientError as fault:
            # boto3 sends again when an answer got lost: the manifest in the way may well be this one.
            if not _is_taken(fault):
                raise
            if client.get_object(Bucket=bucket, Key=key)["Body"].read() != body:
                self._manifest_may_be_there = False  # not ours to remove
                raise LandingError(
                    f"s3://{bucket}/{key} exists, and a landing is never overwritten: run this again, "
                    "which writes a folder of its own"
                ) from None

    def _begin_part(self, extension: str) -> Upload:
        if self._sealed:
            raise LandingError(f"s3://{self._store.bucket}/{self._folder} is sealed: begin another landing for more")
        name = f"part-{len(self._uploads) + 1:05d}.{extension}"
        self._uploads.append(Upload(self._store.client, self._store.bucket, self._folder, name))
        return self._uploads[-1]

    def _end_part(
        self, upload: Upload, *, sha256: str, records: int | None, origin: str | None, origin_etag: str | None
    ) -> None:
        upload.finish()
        self._parts.append(
            Part(
                name=upload.name,
                bytes=upload.bytes,
                sha256=sha256,
                records=records,
                origin=origin,
                origin_etag=origin_etag,
            )
        )

    def _end_documents(self) -> None:
        if (part := self._documents) is not None:
            part.stream.close()
            self._end_part(
                part.upload,
                sha256=part.seen.hexdigest(),
                records=part.records,
                origin=part.origin,
                origin_etag=part.origin_etag,
            )
            self._documents = None


def upload(store: LandingStore, key: str, chunks: Iterable[bytes], *, is_zstd: bool = False) -> int:
    """Write an object as a whole or not at all, whatever its size; return that in bytes, as stored."""
    made = Upload(store.client, store.bucket, "", key)
    try:
        if is_zstd:
            with pa.CompressedOutputStream(pa.PythonFile(made, "w"), "zstd") as out:
                for chunk in chunks:
                    out.write(chunk)
        else:
            for chunk in chunks:
                made.write(chunk)
        made.finish()
    except BaseException:
        made.abort()
        raise
    return made.bytes


def _lines(chunks: Iterable[bytes], uri: str) -> Iterator[bytes]:
    """What newlines separate; after the last of them, only what is there."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
        if len(rest) > _LINE_BYTES:
            raise LandingError(
                f"{uri}: a document longer than {_LINE_BYTES} bytes: have it sent in smaller ones, one a line"
            )
    if rest:
        yield rest


def _gunzipped(chunks: Iterator[bytes], uri: str) -> Iterator[bytes]:
    """The content of a gzip file (RFC 1952, of any number of members), or the chunks themselves if it is none."""
    first = next(chunks, b"")
    if not first.startswith(_GZIP_MAGIC):
        yield first
        yield from chunks
        return
    # zlib, for the gzip module wants a file
    member = zlib.decompressobj(wbits=31)
    try:
        for chunk in itertools.chain([first], chunks):
            rest, piece = chunk, b""
            while rest or len(piece) == _READ_BYTES:
                if member.eof:
                    member = zlib.decompressobj(wbits=31)
                piece = member.decompress(rest, _READ_BYTES)
                yield piece
                rest = member.unused_data.lstrip(b"\0") if member.eof else member.unconsumed_tail
    except zlib.error as fault:
        raise LandingError(f"{uri}: damaged gzip file: {fault}: have the file dropped again") from None
    if not member.eof:
        raise LandingError(f"{uri}: truncated gzip file: have the file dropped again")


class _DocumentPart:
    """The NDJSON part that documents are being added to."""

    def __init__(self, upload: Upload, origin: str | None, origin_etag: str | None) -> None:
        self.upload = upload
        self.origin = origin
        self.origin_etag = origin_etag
        self.stream = pa.CompressedOutputStream(pa.PythonFile(upload, "w"), "zstd")
        self.seen = hashlib.sha256()
        self.records = 0
        self.content_bytes = 0

    def add(self, line: bytes) -> None:
        self.stream.write(line)
        self.seen.update(line)
        self.records += 1
        self.content_bytes += len(line)


_last_landing_id = 0
_landing_id_lock = threading.Lock()


def _next_landing_id() -> int:
    """Microseconds since the epoch, never twice the same in this process."""
    global _last_landing_id
    with _landing_id_lock:
        _last_landing_id = max(_last_landing_id + 1, time.time_ns() // 1000)
        return _last_landing_id


def _prefix(source: str, entity: str, partition: str) -> str:
    return f"landing/{source}/{entity}/dt={partition}/"


def _run_of_claim(body: bytes) -> str:
    return body.decode().partition(" ")[2]


def _safe(run_id: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", run_id)


def _is_taken(fault: ClientError) -> bool:
    """Whether S3 refused a write because the object exists (412), or is being written by another just now (409)."""
    return fault.response["Error"]["Code"] in ("PreconditionFailed", "ConditionalRequestConflict", "412", "409")
