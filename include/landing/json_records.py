"""The records of a JSON document, as the exact bytes in which they stand there.

Numbers keep all their digits, strings their escapes, members their order: nothing is parsed and written again.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from json import JSONDecoder
from json.decoder import scanstring  # type: ignore[attr-defined] # json's own, in C
from typing import TYPE_CHECKING

import msgspec

from include.landing.manifest import LandingError, Manifest
from include.landing.tables import Unreadable

if TYPE_CHECKING:
    from include.landing.store import LandingStore

# Numbers as text: they are passed over here, and an int of 5,000 digits is none to Python.
_SCAN = JSONDecoder(parse_int=str, parse_float=str).scan_once  # type: ignore[attr-defined]
_BLANKS = re.compile(r"[ \t\n\r]*")
_EXCERPT_CHARACTERS = 40
_MOST_COMPARED_BYTES = 16 * 1024 * 1024
_NO_JSON = (ValueError, IndexError, RecursionError)
_RAW = msgspec.json.Decoder(msgspec.Raw)
_RAWS = msgspec.json.Decoder(list[msgspec.Raw])


def landed_records(
    store: LandingStore,
    manifest: Manifest,
    path: Sequence[str] = (),
    *,
    begin_part: Callable[[str, str], None] | None = None,
) -> Iterator[tuple[bytes | Unreadable, bytes | None]]:
    """All records of a landing in their order, each with what was asked for (JSON), where the manifest says it.

    A record that is no object is unreadable, and so is a line of NDJSON that is no JSON, which counts for one.

    Args:
        store: where the landing lies.
        manifest: the landing.
        path: keys that lead to the records in a document.
        begin_part: is told name and URI of each part before its first record is asked for.

    Raises:
        LandingError: a document of an API or a JSON file is not JSON, or the landing cannot be read.
    """
    asked = itertools.chain.from_iterable(
        itertools.repeat(json.dumps(one.values).encode(), one.documents) for one in manifest.asked
    )
    for part in manifest.parts:
        if begin_part is not None:
            begin_part(part.name, manifest.uri + part.name)
        for document in store.iter_documents(manifest, part):
            values = next(asked, None)
            for record in (_of_line if manifest.format == "ndjson" else _of_document)(document, path):
                yield record, values


def is_within(store: LandingStore, landing: Manifest, earlier: Manifest, path: Sequence[str] = ()) -> bool:
    """Whether an earlier landing holds every record of a landing, byte for byte and as answers to the same requests.

    Memory is a hash for each record of the landing. One that cannot be read is within none, and neither is anything of
    more than 16 MiB, compressed: to read so much again would take longer than to load what is new.

    Args:
        store: where both lie.
        landing: its manifest, which need not be written yet.
        earlier: the manifest of the other.
        path: keys that lead to the records in a document.
    """
    if max(landing.bytes, earlier.bytes) > _MOST_COMPARED_BYTES or not _refusals(landing) <= _refusals(earlier):
        return False
    try:
        missing = set(_hashes(store, landing, path))
        for one in _hashes(store, earlier, path):
            if not missing:
                break
            missing.discard(one)
    except LandingError:  # the gate says it of the landing that it is about
        return False
    return not missing


def _hashes(store: LandingStore, landing: Manifest, path: Sequence[str]) -> Iterator[bytes]:
    for record, asked in landed_records(store, landing, path):
        text = record if isinstance(record, bytes) else record.text.encode()
        yield hashlib.blake2b(b"%b\n%b" % (asked or b"", text), digest_size=16).digest()


def _refusals(landing: Manifest) -> set[tuple[tuple[str, str], ...]]:
    return {tuple(sorted(one.params.items())) for one in landing.refused}


def iter_records(document: bytes, path: Sequence[str] = ()) -> Iterator[bytes]:
    """The records of a document: those of the array at a path, or the one object there; none where it leads nowhere.

    Args:
        document: JSON (RFC 8259), UTF-8.
        path: keys of objects that lead to the records; empty where the document is the record, or the array of them.
            Of members of the same name the first counts.

    Yields:
        Each record's own bytes.

    Raises:
        LandingError: the document is not JSON, or a record is no object.
    """
    for record in _of_document(document, path):
        if isinstance(record, Unreadable):
            raise LandingError(
                f"a record is no JSON object but {record.text[:_EXCERPT_CHARACTERS]}; mend 'records' in source.yml"
            )
        yield record


def _of_document(document: bytes, path: Sequence[str]) -> Iterator[bytes | Unreadable]:
    if not path and _is_object(document):
        yield document
        return
    try:
        yield from _records(document, path)
    except _NO_JSON as fault:
        raise LandingError(f"a document {_said(fault)}; see the landing gate") from None


def _of_line(line: bytes, path: Sequence[str]) -> Iterator[bytes | Unreadable]:
    """The records of a line of NDJSON, all of them or none."""
    try:
        text = line.decode()
        end = _end(text, _after_blanks(text, 0))
        if _after_blanks(text, end) != len(text):
            raise ValueError(f"something follows it at character {end}")
        records = list(_records(line, path))
    except _NO_JSON as fault:
        records = [Unreadable(_said(fault), line.decode(errors="backslashreplace"))]
    yield from records


def _records(document: bytes, path: Sequence[str]) -> Iterator[bytes | Unreadable]:
    text = document.decode()
    start = _find(text, _after_blanks(text, 0), path)
    if start is None:
        return
    found = _last_array(text, start)
    for one in found if found is not None else (text[begin:end].encode() for begin, end in _elements(text, start)):
        yield one if one.startswith(b"{") else Unreadable("is no JSON object", one.decode())


def _last_array(text: str, start: int) -> list[bytes] | None:
    """The elements of the array that begins here, if it is the last one of the text; None where it may be none.

    A page of an API's answer mostly ends with it, or with numbers and texts. msgspec takes a fraction of the time.
    """
    try:
        return list(map(bytes, _RAWS.decode(text[start : text.rindex("]") + 1])))
    except (ValueError, RecursionError):  # it is not the last, or has what msgspec does not read: see `_is_object`
        return None


def _is_object(document: bytes) -> bool:
    """Whether a document is a JSON object from its first byte to its last; if it is not found to be one, it may be.

    Most are, and this takes a fifth of the time that it takes to find where a value ends. What msgspec skips it reads
    strictly (no NaN, no halves of surrogate pairs, no more depth than Python has stack), but for UTF-8.
    """
    if not (document.startswith(b"{") and document.endswith(b"}")):
        return False
    try:
        _RAW.decode(document)
        return document.isascii() or bool(document.decode())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def _said(fault: Exception) -> str:
    return f"is not JSON ({type(fault).__name__}: {fault})"


def record_spans(document: bytes, path: Sequence[str] = ()) -> Iterator[tuple[int, int]]:
    """Where in a document each record of `iter_records` stands: its first byte, from 0, and the one behind its last.

    Raises:
        LandingError: the document is not JSON.
    """
    try:
        text = document.decode()
        start = _find(text, _after_blanks(text, 0), path)
        at, bytes_before = 0, 0
        for begin, end in _elements(text, start) if start is not None else ():
            first = bytes_before + len(text[at:begin].encode())
            at, bytes_before = end, first + len(text[begin:end].encode())
            yield first, bytes_before
    except (ValueError, IndexError, RecursionError) as fault:
        raise LandingError(f"a document is not JSON ({type(fault).__name__}); see the landing gate") from None


def masked(record: bytes, names: Collection[str], mask: str = "***") -> bytes:
    """A record as it stands, but for the values of the named members."""
    text = record.decode()
    made, at = "", 0
    for name, begin in _members(text, _after_blanks(text, 0)):
        if name in names:
            made, at = made + text[at:begin] + json.dumps(mask), _end(text, begin)
    return (made + text[at:]).encode()


def replaced(record: bytes, values: Mapping[str, bytes]) -> bytes:
    """A record with these values (JSON) for the members of these names, and every other byte as it stands."""
    text = record.decode()
    made, at = [], 0
    for name, begin in _members(text, _after_blanks(text, 0)):
        if name in values:
            made += [text[at:begin], values[name].decode()]
            at = _end(text, begin)
    return ("".join(made) + text[at:]).encode()


def only_members(record: bytes, names: Collection[str]) -> tuple[bytes, list[str]]:
    """A record with the named members alone, each as it stands; and the names of the others."""
    text = record.decode()
    kept, others = [], []
    for name, begin in _members(text, _after_blanks(text, 0)):
        if name in names:
            kept.append(f"{json.dumps(name)}: {text[begin : _end(text, begin)]}")
        else:
            others.append(name)
    return (("{" + ", ".join(kept) + "}").encode(), others) if others else (record, others)


def _find(text: str, start: int, path: Sequence[str]) -> int | None:
    """Where the value at a path begins; None where the path leads nowhere or to null."""
    for key in path:
        found = next((begin for name, begin in _members(text, start) if name == key), None)
        if found is None:
            return None
        start = found
    return None if path and text.startswith("null", start) else start


def _members(text: str, start: int) -> Iterator[tuple[str, int]]:
    """The members of the object that begins here: name, and where its value begins. None of another value."""
    if text[start] != "{":
        _end(text, start)
        return
    at = _after_blanks(text, start + 1)
    while text[at] != "}":
        if text[at] != '"':
            raise ValueError(f"a member's name is missing at character {at}")
        name, at = scanstring(text, at + 1)
        at = _after_blanks(text, at)
        if text[at] != ":":
            raise ValueError(f"a colon is missing at character {at}")
        begin = _after_blanks(text, at + 1)
        yield name, begin
        at = _next(text, _end(text, begin), "}")


def _elements(text: str, start: int) -> Iterator[tuple[int, int]]:
    """Where each element of the array that begins here begins and ends; of another value, where that does."""
    if text[start] != "[":
        yield start, _end(text, start)
        return
    at = _after_blanks(text, start + 1)
    while text[at] != "]":
        end = _end(text, at)
        yield at, end
        at = _next(text, end, "]")


def _end(text: str, start: int) -> int:
    """Where the value that begins here ends."""
    try:
        end: int = _SCAN(text, start)[1]
    except StopIteration:
        raise ValueError(f"a value is missing at character {start}") from None
    return end


def _next(text: str, end: int, closing: str) -> int:
    """Where the next element or member begins, or the closing bracket stands."""
    at = _after_blanks(text, end)
    if text[at] == closing:
        return at
    if text[at] != ",":
        raise ValueError(f"a comma is missing at character {at}")
    return _after_blanks(text, at + 1)


def _after_blanks(text: str, at: int) -> int:
    found = _BLANKS.match(text, at)
    return found.end() if found else at
