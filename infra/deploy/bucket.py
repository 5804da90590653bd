"""Bring MWAA's bucket to what a package is, in an order in which every moment is a whole one.

First the new release, which nobody reads; then `release.json`, which says that it is whole; then the files around; then
`releases/current`, by which it is taken; last of all what is gone is deleted. A deployment that breaks off leaves the
former release in force, and the next one goes on from there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

KEPT = 3
"""releases that stay: the new one, and those that tasks may have begun with"""

CURRENT = "dags/releases/current"
VERSIONED = ("requirements.txt", "plugins.zip", "startup.sh")
"""what MWAA takes by version, with an update of the environment"""

_HASH = "sha256"
_AT_ONCE = 8  # uploads; boto3 holds ten connections


@dataclass(frozen=True)
class Change:
    """A key or folder that is added (`+`), changed (`~`) or deleted (`-`)."""

    sign: str
    what: str


class Bucket:
    """The part of a bucket below a prefix.

    Args:
        client: a boto3 S3 client; its credentials must allow to list, get, put and delete there.
        name: the bucket's.
        prefix: empty, or ending with a slash.
    """

    def __init__(self, client: S3Client, name: str, prefix: str = "") -> None:
        self.client = client
        self.name = name
        self.prefix = prefix

    def deploy(
        self, release_id: str, make: Callable[[], dict[str, bytes]], around: dict[str, bytes], *, dry_run: bool = False
    ) -> list[Change]:
        """Put a release in force.

        Args:
            release_id: the release's.
            make: its files, `release.json` among them; asked for only if the bucket does not hold the release whole.
            around: path below the prefix -> content, as `package.around` gives it.
            dry_run: say what would change, and change nothing.

        Returns:
            What has changed (or would); nothing when the bucket holds the release in force already.
        """
        held = self._keys()
        changes: list[Change] = []
        folder = f"dags/releases/{release_id}/"
        if f"{folder}release.json" not in held:
            files = make()
            changes.append(Change("+", f"{folder} ({len(files)} files, {sum(map(len, files.values())):,} bytes)"))
            if not dry_run:
                self._put_release(folder, files)
        for key, content in around.items():
            if key not in held or self._hash(key) != _sha256(content):
                changes.append(Change("~" if key in held else "+", key))
                if not dry_run:
                    self._put(key, content)
        before = self._current() if CURRENT in held else []
        kept = [release_id, *(one for one in before if one != release_id)][:KEPT]
        if kept != before:
            changes.append(Change("~" if before else "+", f"{CURRENT}: {release_id}"))
            if not dry_run:
                self._put(CURRENT, ("\n".join(kept) + "\n").encode())
        ours = {CURRENT, *around}
        gone = [
            key
            for key in sorted(held)
            if key.startswith("dags/") and key not in ours and _release_of(key) not in {*kept, release_id}
        ]
        changes += [Change("-", what) for what in dict.fromkeys(map(_shown, gone))]
        if not dry_run:
            for key in gone:
                self.client.delete_object(Bucket=self.name, Key=self.prefix + key)
        return changes

    def versions(self) -> dict[str, str]:
        """The versions of what MWAA takes by version; `null` where the bucket keeps none."""
        found = {key: self.client.head_object(Bucket=self.name, Key=self.prefix + key) for key in VERSIONED}
        return {key: answer.get("VersionId", "null") for key, answer in found.items()}

    def _put_release(self, folder: str, files: dict[str, bytes]) -> None:
        first = [(folder + path, content) for path, content in files.items() if path != "release.json"]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for _ in pool.map(lambda one: self._put(*one), first):
                pass  # raises what a put has raised
        self._put(f"{folder}release.json", files["release.json"])

    def _put(self, key: str, content: bytes) -> None:
        self.client.put_object(
            Bucket=self.name, Key=self.prefix + key, Body=content, Metadata={_HASH: _sha256(content)}
        )

    def _hash(self, key: str) -> str | None:
        # an ETag is the content's MD5 under some kinds of encryption, and not under others
        return self.client.head_object(Bucket=self.name, Key=self.prefix + key)["Metadata"].get(_HASH)

    def _current(self) -> list[str]:
        answer = self.client.get_object(Bucket=self.name, Key=self.prefix + CURRENT)
        return answer["Body"].read().decode().split()

    def _keys(self) -> set[str]:
        return {key for top in ("dags/", *VERSIONED) for key in self._below(top)}

    def _below(self, path: str) -> Iterator[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=self.prefix + path)
        try:
            for page in pages:
                for entry in page.get("Contents", []):
                    yield entry["Key"].removeprefix(self.prefix)
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchBucket":
                raise SystemExit(f"bucket {self.name}: there is none; deploy the stack of buckets first") from None
            raise


def _release_of(key: str) -> str | None:
    parts = key.split("/")
    return parts[2] if len(parts) > 3 and parts[1] == "releases" else None


def _shown(key: str) -> str:
    release = _release_of(key)
    return f"dags/releases/{release}/" if release else key


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
