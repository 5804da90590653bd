"""A file that is read while it still arrives."""

from __future__ import annotations

import io
import os
import tempfile
import threading
from collections.abc import Generator
from contextlib import closing
from types import TracebackType
from typing import Self


class OtherEnd(Exception):  # noqa: N818 - what it is
    """The end that was known before is not that of the stream."""


class Arriving(io.RawIOBase):
    """A stream as a seekable file, whose reader waits for those bytes alone that have not arrived yet.

    It lies on disk as a nameless temporary file (in TMPDIR). Whether all arrived, and nothing went wrong behind what
    was read, is known when its context ends: leaving it raises what the stream has raised, or `OtherEnd`.
    """

    def __init__(self, chunks: Generator[bytes], size: int, end: bytes = b"") -> None:
        """Be ready to receive: the stream is begun when something is read that is not there yet.

        Args:
            chunks: The stream, read by a thread of the file's own, which ends it.
            size: How many bytes it has.
            end: Its last ones, where they are known already: a Parquet file is read from its end.
        """
        super().__init__()
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it ends with this one's context
        self._size, self._end = size, end
        self._position = self._arrived = 0
        self._fault: Exception | None = None
        self._is_left = self._is_over = False
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._receive, args=(chunks,), name="arriving", daemon=True)
        self._is_begun = False

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for the rest, unless nobody wants it.

        What is wrong with the stream explains what a reader made of it, so it goes before the reader's own fault.
        """
        with self._news:
            self._is_left = fault is not None and not isinstance(fault, Exception)
        if not self._is_left:
            self._begin()
        if self._is_begun:
            self._thread.join()
        differs = os.pread(self._file.fileno(), len(self._end), self._size - len(self._end)) != self._end
        self._file.close()
        self.close()
        if self._is_left or (fault is not None and fault is self._fault):
            return
        if self._fault is not None:
            raise self._fault from fault
        if differs:
            raise OtherEnd from fault

    def __enter__(self) -> Self:
        """Return the file itself."""
        return self

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to a place, whether it has arrived or not."""
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        return self._position

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override] # of all buffers it is given these
        """Read what has arrived at the place, or wait for some of it.

        Raises:
            Exception: What the stream has raised.
        """
        at = self._position
        if (behind := at - (self._size - len(self._end))) >= 0:
            found = self._end[behind : behind + len(buffer)]
            buffer[: len(found)] = found
        else:
            self._begin()
            with self._news:
                self._news.wait_for(lambda: self._arrived > at or self._is_over)
                if self._fault is not None:
                    raise self._fault
                there = self._arrived - at
            found = os.pread(self._file.fileno(), max(0, min(len(buffer), there)), at)
            buffer[: len(found)] = found
        self._position += len(found)
        return len(found)

    def _begin(self) -> None:
        if not self._is_begun:
            self._is_begun = True
            self._thread.start()

    def _receive(self, chunks: Generator[bytes]) -> None:
        try:
            with closing(chunks):
                for chunk in chunks:
                    self._file.write(chunk)
                    self._file.flush()
                    with self._news:
                        self._arrived += len(chunk)
                        self._news.notify_all()
                        if self._is_left:
                            break
        except Exception as fault:
            self._fault = fault
        finally:
            with self._news:
                self._is_over = True
                self._news.notify_all()
