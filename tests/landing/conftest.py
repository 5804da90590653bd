"""A landing store on a bucket of its own, and payloads to land in it."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from include.landing import LandingStore, Manifest
from tests.conftest import S3

Land = Callable[..., Manifest]


@pytest.fixture
def store(s3: S3) -> LandingStore:
    """A store on the test's bucket."""
    return LandingStore(s3.client, s3.bucket)


@pytest.fixture
def land(store: LandingStore) -> Land:
    """Land bodies (`str`, `bytes` or a list of chunks) as one landing: one document or file each."""

    def land(format: str, *bodies: str | bytes | Iterable[bytes], partition: str = "all") -> Manifest:
        with store.begin(
            source="tests",
            entity="things",
            partition=partition,
            run_id="manual__1",
            format=format,  # type: ignore[arg-type]
        ) as writer:
            for body in bodies:
                content = body.encode() if isinstance(body, str) else body
                if format == "json":
                    assert isinstance(content, bytes)
                    writer.add_document(content)
                else:
                    writer.add_file([content] if isinstance(content, bytes) else content, format)
            return writer.commit({"method": "GET"})

    return land


def pieces(path: Path) -> Iterator[bytes]:
    """A file in chunks."""
    with path.open("rb") as file:
        while chunk := file.read(1 << 16):
            yield chunk
