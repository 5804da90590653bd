"""A file that is read while it arrives gives the bytes of the stream, waits for them, and says what became of it."""

import os
import random
import threading
from collections.abc import Generator, Iterable

import pytest

from include.landing.arriving import Arriving, OtherEnd

CONTENT = random.Random(1).randbytes(300_000)  # noqa: S311 - the same each time


class BrokenError(Exception):
    """What a stream dies of."""


def pieces(content: bytes = CONTENT, *, size: int = 7_000) -> Generator[bytes]:
    for begin in range(0, len(content), size):
        yield content[begin : begin + size]


def held_back(arrived: bytes, rest: Iterable[bytes], told: threading.Event) -> Generator[bytes]:
    """A stream that goes on once it is told to."""
    yield arrived
    assert told.wait(60)
    yield from rest


@pytest.mark.parametrize("known", [0, 1, 50_000, len(CONTENT)])
def test_any_place_can_be_read_in_any_order(known: int) -> None:
    places = random.Random(2)  # noqa: S311 - the same each time
    with Arriving(pieces(), len(CONTENT), CONTENT[len(CONTENT) - known :]) as file:
        for _ in range(200):
            begin, length = places.randrange(len(CONTENT) + 10), places.randrange(1, 20_000)
            assert file.seek(begin) == begin
            found, wanted = file.read(length), CONTENT[begin : begin + length]
            # as a raw file does, it may give less than was asked for, but not nothing
            assert found == wanted[: len(found)]
            assert bool(found) == bool(wanted)
        file.seek(0)
        assert b"".join(iter(lambda: file.read(10_000), b"")) == CONTENT
        assert file.seek(-10, os.SEEK_END) == len(CONTENT) - 10
        assert file.read(20) == CONTENT[-10:]


def test_what_has_arrived_and_the_end_are_read_before_the_rest_is_there() -> None:
    told = threading.Event()
    stream = held_back(CONTENT[:1_000], [CONTENT[1_000:]], told)
    with Arriving(stream, len(CONTENT), CONTENT[-100:]) as file:
        file.seek(-100, os.SEEK_END)
        assert file.read(200) == CONTENT[-100:]
        file.seek(0)
        assert file.read(5_000) == CONTENT[:1_000]
        told.set()
        assert b"".join(iter(lambda: file.read(5_000), b"")) == CONTENT[1_000:]


def test_a_stream_that_nobody_has_read_is_checked_all_the_same() -> None:
    seen = []

    def counted() -> Generator[bytes]:
        for piece in pieces():
            seen.append(len(piece))
            yield piece

    with Arriving(counted(), len(CONTENT), CONTENT[-100:]):
        assert seen == []
    assert sum(seen) == len(CONTENT)


def broken(told: threading.Event) -> Generator[bytes]:
    yield CONTENT[:1_000]
    assert told.wait(60)
    raise BrokenError("the line went dead")


def test_who_waits_for_what_never_comes_is_told_why() -> None:
    told = threading.Event()
    with pytest.raises(BrokenError), Arriving(broken(told), len(CONTENT)) as file:  # noqa: PT012 - within and at its end
        assert file.read(2_000) == CONTENT[:1_000]
        told.set()
        with pytest.raises(BrokenError, match="the line went dead"):
            file.read(1)


def test_the_stream_s_fault_explains_what_its_reader_made_of_it() -> None:
    told = threading.Event()
    told.set()
    with pytest.raises(BrokenError) as raised, Arriving(broken(told), len(CONTENT)):
        raise ValueError("that is no Parquet file")
    assert str(raised.value.__cause__) == "that is no Parquet file"
    with pytest.raises(ValueError, match="no Parquet"), Arriving(pieces(), len(CONTENT)):
        raise ValueError("that is no Parquet file")


def test_an_end_that_is_not_the_stream_s_is_refused() -> None:
    with pytest.raises(OtherEnd), Arriving(pieces(), len(CONTENT), b"another end") as file:
        assert file.read(10) == CONTENT[:10]


def test_a_reader_that_is_stopped_waits_for_no_rest() -> None:
    told, ended = threading.Event(), threading.Event()

    def endless() -> Generator[bytes]:
        try:
            while True:
                yield CONTENT
                told.set()
        finally:
            ended.set()

    with pytest.raises(KeyboardInterrupt), Arriving(endless(), 10**12) as file:  # noqa: PT012 - stopped while it reads
        file.read(10)
        told.wait(60)
        raise KeyboardInterrupt
    assert ended.is_set()
    begun = []
    with pytest.raises(KeyboardInterrupt), Arriving((begun.append(one) or b"" for one in (1,)), 1):  # type: ignore[func-returns-value]
        raise KeyboardInterrupt
    assert begun == []
