"""One person out of the objects of a source: landings, what killed runs have left, the drop zone.

A landing is changed in an order in which it can be read at every moment, and nothing of the person is left once it has
gone through: the new part is put beside the old one, the manifest replaced by one that names the new part and its hash,
and then the old part is deleted with all its versions, as are those of the manifest. Whoever goes on after a crash
finds either the old part still named, or a part that no manifest names, which is deleted first of all.

Nobody may land, load or erase in the same source meanwhile (`include.warehouse.peace`).
"""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import PurePosixPath
from typing import IO, BinaryIO, cast

import pyarrow as pa

from include import objects
from include.landing.erase import Erasing, Shape, rewrite
from include.landing.manifest import LandingError, Manifest, Part
from include.landing.needles import Needles
from include.landing.store import MANIFEST, Dropped, LandingStore, upload

log = logging.getLogger(__name__)

_READ_BYTES = 1024 * 1024
_OWN_MARK = re.compile(r"-e[0-9a-f]{8}$")


def all_manifests(store: LandingStore, source: str) -> list[Manifest]:
    """Every landing of a source that has a manifest, those of earlier tries included, oldest first."""
    keys = [key for key in _keys(store, f"landing/{source}/") if key.endswith(f"/{MANIFEST}")]
    found = [store.read(f"s3://{store.bucket}/{key.removesuffix(MANIFEST)}") for key in keys]
    return sorted(found, key=lambda manifest: manifest.landing_id)


def unnamed(store: LandingStore, source: str) -> list[str]:
    """Keys of a source's landed objects that no manifest names: what killed fetches and erasures have left."""
    named = set()
    for manifest in all_manifests(store, source):
        folder = manifest.uri.removeprefix(f"s3://{store.bucket}/")
        named |= {folder + MANIFEST, *(folder + part.name for part in manifest.parts)}
    return [key for key in _keys(store, f"landing/{source}/") if key not in named]


def rewrite_landing(
    store: LandingStore, manifest: Manifest, shape: Shape, erasing: Erasing, *, at: datetime
) -> tuple[Manifest, int]:
    """Write the parts of a landing that hold the person anew, and its manifest.

    Args:
        store: Where it lies.
        manifest: The landing.
        shape: How it is to be read.
        erasing: Whom to erase.
        at: Now.

    Returns:
        The manifest as it is now, and how many records were changed; 0 where the landing is as it was.

    Raises:
        LandingError: It cannot be read or cannot be written; it is as it was.
    """
    folder = manifest.uri.removeprefix(f"s3://{store.bucket}/")
    parts, gone, records = [], [], 0
    for part in manifest.parts:
        with store.open_part(manifest, part) as file, tempfile.TemporaryFile() as made:
            with _faults_named(manifest.uri + part.name):
                count = rewrite(file, made, shape, erasing)
            if count:
                gone.append(part.name)
                part = _put_part(store, folder, manifest.format, part, made)
                records += count
        parts.append(part)
    whole = manifest.model_copy(
        update={
            "parts": tuple(parts),
            "bytes": sum(part.bytes for part in parts),
            "sha256": hashlib.sha256("".join(part.sha256 for part in parts).encode()).hexdigest(),
            "erased_at": at,
        }
    )
    text, named = Needles(erasing.spellings - {erasing.pseudonym}).replaced(
        whole.model_dump_json(indent=2), erasing.pseudonym
    )
    if not records and not named:
        return manifest, 0
    store.client.put_object(
        Bucket=store.bucket, Key=folder + MANIFEST, Body=text.encode(), ContentType="application/json"
    )
    for name in gone:
        delete_for_good(store, folder + name)
    delete_for_good(store, folder + MANIFEST, but_current=True)
    log.info("erased uri=%s records=%d parts=%d", manifest.uri, records, len(gone))
    return Manifest.model_validate_json(text), records


def rewrite_dropped(store: LandingStore, file: Dropped, shape: Shape, erasing: Erasing) -> int:
    """Write a dropped file that is not landed yet anew, if it holds the person.

    Returns:
        Records changed.
    """
    key = file.uri.removeprefix(f"s3://{store.bucket}/")
    with open_dropped(store, file) as content, tempfile.TemporaryFile() as made:
        with _faults_named(file.uri):
            count = rewrite(content, made, shape, erasing)
        if count:
            made.seek(0)
            upload(store, key, iter(lambda: made.read(_READ_BYTES), b""))
            delete_for_good(store, key, but_current=True)
    return count


@contextmanager
def open_dropped(store: LandingStore, file: Dropped) -> Iterator[BinaryIO]:
    """The content of a dropped file, on disk for as long as the context lasts."""
    with tempfile.TemporaryFile() as content:
        for chunk in store.read_dropped(file):
            content.write(chunk)
        content.seek(0)
        yield cast("BinaryIO", content)


@contextmanager
def open_object(store: LandingStore, key: str) -> Iterator[BinaryIO]:
    """The content of any object of the bucket, on disk for as long as the context lasts."""
    with tempfile.TemporaryFile() as content:
        with store.client.get_object(Bucket=store.bucket, Key=key)["Body"] as body:
            shutil.copyfileobj(body, content, _READ_BYTES)
        yield cast("BinaryIO", content)


def delete_for_good(store: LandingStore, key: str, *, but_current: bool = False) -> None:
    """Delete an object with all its versions, where the bucket keeps some; or all of them but the current one."""
    objects.delete_for_good(store.client, store.bucket, key, but_current=but_current)


def former_versions(store: LandingStore, prefix: str) -> list[str]:
    """Keys below a prefix of which a versioned bucket keeps versions that are no longer current."""
    if not objects.is_versioned(store.client, store.bucket):
        return []
    pages = store.client.get_paginator("list_object_versions").paginate(Bucket=store.bucket, Prefix=prefix)
    return sorted({version["Key"] for page in pages for version in page.get("Versions", []) if not version["IsLatest"]})


def _put_part(store: LandingStore, folder: str, format: str, part: Part, made: IO[bytes]) -> Part:
    """Put a part under a name of its own, beside the one that it replaces."""
    path = PurePosixPath(part.name)
    stem, _, ending = path.name.partition(".")
    name = f"{_OWN_MARK.sub('', stem)}-e{secrets.token_hex(4)}.{ending}"
    seen = hashlib.sha256()
    made.seek(0)
    while chunk := made.read(_READ_BYTES):
        seen.update(chunk)
    made.seek(0)
    chunks = iter(lambda: made.read(_READ_BYTES), b"")
    size = upload(store, folder + name, chunks, is_zstd=format == "json")
    return part.model_copy(update={"name": name, "bytes": size, "sha256": seen.hexdigest()})


@contextmanager
def _faults_named(uri: str) -> Iterator[None]:
    """The object's name before a fault; not the fault's words alone, for they may quote what stands there."""
    try:
        yield
    except LandingError as fault:
        raise LandingError(f"{uri}: {fault}") from None
    except (pa.ArrowException, OSError, ValueError, LookupError) as fault:
        raise LandingError(
            f"{uri}: it cannot be read to erase a person ({type(fault).__name__}): mend it, or delete its landing"
        ) from None


def _keys(store: LandingStore, prefix: str) -> Iterator[str]:
    pages = store.client.get_paginator("list_objects_v2").paginate(Bucket=store.bucket, Prefix=prefix)
    return (entry["Key"] for page in pages for entry in page.get("Contents", []))
