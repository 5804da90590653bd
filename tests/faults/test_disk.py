"""The disk of the state folder is full: landing and load fail with a message; with room a rerun repairs all."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from include.landing import LandingStore
from include.warehouse.bootstrap import ROLES, bootstrap
from include.warehouse.load import create_table, load_documents
from include.warehouse.raw import LoadError, RawTable
from local import postgres as postgresql
from local import process
from tests.conftest import Warehouse
from tests.faults.page import Ledger
from tests.faults.servers import S3, Postgres, Server, client_of, is_one_clear_message, rows
from tests.landings import book
from tests.waiting import wait_until

SIZE_MB, ROOM_MB = 500, 12
ROWS, PAD = 30_000, "x" * 1_000


@dataclass
class Disk:
    """A small file system of its own."""

    path: Path

    def fill(self, *, but: int) -> None:
        """Leave as many megabytes as are said."""
        free = shutil.disk_usage(self.path).free
        with (self.path / "ballast").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, free - but * 1_000_000)

    def empty(self) -> None:
        """Give the room back."""
        (self.path / "ballast").unlink(missing_ok=True)


@pytest.fixture
def disk() -> Iterator[Disk]:
    """A tmpfs of half a gigabyte; without leave to mount one the test is skipped."""
    path = Path(tempfile.mkdtemp(prefix="sluice-disk-"))
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m,mode=0711", "tmpfs", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        path.rmdir()
        pytest.skip(f"a small file system cannot be mounted here: {done.stderr.strip()}")
    yield Disk(path)
    subprocess.run(["umount", "--lazy", str(path)], check=True)
    path.rmdir()


def heal(server: Server) -> None:
    """Start a server again if it ended for want of room, as `./sluice up` does."""
    assert server.started is not None
    if not process.is_running(server.started):
        server.started = None
        server.start()


def test_a_full_disk_fails_the_landing_and_the_load_and_with_room_a_rerun_repairs_all(
    disk: Disk, ledger: Ledger
) -> None:
    postgres, s3 = Postgres(disk.path, "PostgreSQL"), S3(disk.path, "SeaweedFS")
    postgres.start()
    s3.start()
    try:
        warehouse = Warehouse(postgres.server, "warehouse")
        postgresql.create_database(
            postgres.server, "warehouse", owner="sluice_owner", password=warehouse.password("sluice_owner")
        )
        with closing(postgres.server.connect("warehouse")) as connection:
            bootstrap(connection, {role: warehouse.password(role) for role in ROLES})
        table = RawTable("shop__things", "append")
        create_table(warehouse.dsn("sluice_loader"), table)
        landing_id = book(warehouse.dsn("sluice_loader"), "things", records=ROWS)
        disk.fill(but=ROOM_MB)

        with pytest.raises((BotoCoreError, ClientError)) as refusal:
            land(s3)
        assert "\n" not in str(refusal.value)
        with pytest.raises(LoadError) as fault:
            load(warehouse, table, landing_id)
        assert is_one_clear_message(fault.value, "raw.shop__things", str(landing_id))

        disk.empty()
        heal(postgres)
        heal(s3)
        store = LandingStore(client_of(s3), s3.store.bucket)
        assert list(store.landings("shop", "things")) == []
        wait_until(lambda: is_landed(s3), "SeaweedFS has seen that there is room again", 120, every_seconds=1)
        assert len(list(store.landings("shop", "things"))) == 1
        held = "select count(*), count(distinct _row), sum((payload ->> 'id')::bigint) from raw.shop__things"
        assert rows(warehouse, held) == [(0, 0, None)]
        assert load(warehouse, table, landing_id) == ROWS
        assert rows(warehouse, held) == [(ROWS, ROWS, ROWS * (ROWS - 1) // 2)]
    finally:
        for server, number in ((postgres, signal.SIGQUIT), (s3, signal.SIGKILL)):
            with suppress(Exception):
                server.stop(number)
    ledger.note("server", "the disk of the state folder is full")


def land(s3: S3) -> None:
    """Land 40 MB."""
    store = LandingStore(client_of(s3), s3.store.bucket)
    with store.begin(source="shop", entity="things", partition="2024-01", run_id="test", format="parquet") as writer:
        writer.add_file((os.urandom(1_000_000) for _ in range(40)), "parquet")
        writer.commit({"method": "GET"})


def is_landed(s3: S3) -> bool:
    """Try once more, as a task does that is retried."""
    try:
        land(s3)
    except ClientError:
        return False
    return True


def load(warehouse: Warehouse, table: RawTable, landing_id: int) -> int:
    """Load 30 MB."""
    records = ((json.dumps({"id": row, "pad": PAD + str(row)}).encode(), None) for row in range(ROWS))
    return load_documents(warehouse.dsn("sluice_loader"), table, landing_id, records)
