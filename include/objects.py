"""Objects of S3 that are written as streams, and deleted with all that a versioned bucket keeps of them."""

from __future__ import annotations

import io
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef
    from typing_extensions import Buffer

_UPLOAD_BYTES = 8 * 1024 * 1024  # a piece of a multipart upload: S3 allows 10,000 of them, so 80 GB an object
_UPLOADS_AT_ONCE = 3  # pieces on their way while the next one is received, hashed and compressed


class Upload(io.RawIOBase):
    """One object on its way to S3: a plain put if it is small, multipart once it is not.

    Pieces go by threads, some at once, so that whoever writes need not wait for S3 until they are too many.
    """

    def __init__(self, client: S3Client, bucket: str, folder: str, name: str) -> None:
        self.name = name
        self.bytes = 0
        self._client = client
        self._bucket = bucket
        self._key = folder + name
        self._buffer = bytearray()
        self._upload_id: str | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._under_way: deque[Future[CompletedPartTypeDef]] = deque()
        self._done: list[CompletedPartTypeDef] = []

    def writable(self) -> bool:
        """See `io.IOBase`."""
        return True

    def write(self, data: Buffer, /) -> int:
        """See `io.RawIOBase`; all of the data is taken."""
        size = memoryview(data).nbytes
        self.bytes += size
        self._buffer += data
        while len(self._buffer) > _UPLOAD_BYTES:
            self._send(bytes(self._buffer[:_UPLOAD_BYTES]))
            del self._buffer[:_UPLOAD_BYTES]
        return size

    def finish(self) -> None:
        """Make the object visible. Not `close`, which the garbage collector would call for one that was given up."""
        if self._upload_id is None:
            self._client.put_object(Bucket=self._bucket, Key=self._key, Body=bytes(self._buffer))
        else:
            self._send(bytes(self._buffer))
            self._await(most=0)
            self._client.complete_multipart_upload(
                Bucket=self._bucket, Key=self._key, UploadId=self._upload_id, MultipartUpload={"Parts": self._done}
            )
            self._upload_id = None
            self._end_threads()
        self._buffer.clear()

    def abort(self) -> None:
        """Leave nothing behind of an object that was begun."""
        self._end_threads()  # a piece that arrived after the abort would stay
        if self._upload_id is not None:
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=self._key, UploadId=self._upload_id)
            self._upload_id = None

    def _send(self, piece: bytes) -> None:
        if self._upload_id is None:
            self._upload_id = self._client.create_multipart_upload(Bucket=self._bucket, Key=self._key)["UploadId"]
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_UPLOADS_AT_ONCE, thread_name_prefix="upload")
        self._await(most=_UPLOADS_AT_ONCE - 1)
        number = len(self._done) + len(self._under_way) + 1
        self._under_way.append(self._threads.submit(self._put, self._upload_id, number, piece))

    def _put(self, upload_id: str, number: int, piece: bytes) -> CompletedPartTypeDef:
        answer = self._client.upload_part(
            Bucket=self._bucket, Key=self._key, UploadId=upload_id, PartNumber=number, Body=piece
        )
        return {"PartNumber": number, "ETag": answer["ETag"]}

    def _await(self, most: int) -> None:
        """Wait until no more pieces than these are under way, the oldest first."""
        while len(self._under_way) > most:
            self._done.append(self._under_way.popleft().result())

    def _end_threads(self) -> None:
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)
            self._threads = None


def delete_for_good(client: S3Client, bucket: str, key: str, *, but_current: bool = False) -> None:
    """Delete an object with all its versions, where the bucket keeps some; or all of them but the current one."""
    if not is_versioned(client, bucket):
        if not but_current:
            client.delete_object(Bucket=bucket, Key=key)
        return
    for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=key):
        for version in page.get("Versions", []):
            if version["Key"] == key and not (but_current and version["IsLatest"]):
                client.delete_object(Bucket=bucket, Key=key, VersionId=version["VersionId"])
        for marker in page.get("DeleteMarkers", []):
            if marker["Key"] == key:
                client.delete_object(Bucket=bucket, Key=key, VersionId=marker["VersionId"])


def is_versioned(client: S3Client, bucket: str) -> bool:
    """Whether the bucket keeps, or has kept, former versions of objects."""
    return bool(client.get_bucket_versioning(Bucket=bucket).get("Status"))
