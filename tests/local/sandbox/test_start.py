"""Starting and stopping the sandbox, and what it refuses to start with."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from local.sandbox.app import create_app
from local.sandbox.data import DataError
from local.sandbox.settings import Settings, SettingsError, read_settings
from tests.local.sandbox.conftest import PROJECT, Sandbox, running


def refused(*flags: str, **environ: str) -> str:
    """What the sandbox says when it does not start; fails if it does."""
    command = [sys.executable, "-m", "local.sandbox", "--port", "0", *flags]
    done = subprocess.run(
        command, cwd=PROJECT, env={**os.environ, **environ}, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2, done
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("sandbox: ")
    return done.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "example.org"])  # noqa: S104 - it must be refused
def test_an_address_beyond_this_machine_is_refused_without_the_flag_for_it(host: str) -> None:
    said = refused("--host", host)

    assert f"--host {host} is reachable from other machines" in said
    assert "--allow-remote" in said


def test_an_address_beyond_this_machine_is_taken_with_the_flag_for_it() -> None:
    with running("--host", "0.0.0.0", "--allow-remote") as sandbox:  # noqa: S104 - as in a container
        assert sandbox.get("/healthz").json() == {"status": "ok"}


def test_a_port_in_use_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        said = refused("--port", str(port))

    assert f"cannot listen on 127.0.0.1 port {port}" in said
    assert "another --port" in said


def test_a_wrong_setting_is_named_and_the_sandbox_does_not_start() -> None:
    assert "SANDBOX_YELLOW_ROWS: Input should be a valid integer" in refused(SANDBOX_YELLOW_ROWS="many")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("SANDBOX_OPENWEATHER_CALLS_PER_MINUTE", "0", "SANDBOX_OPENWEATHER_CALLS_PER_MINUTE: Input should be greater"),
        ("SANDBOX_X_POSTS", "a:1,b", "SANDBOX_X_POSTS: 'b' is not a name and a number such as friendsies:450; correct"),
        ("SANDBOX_OPENSEA_COLLECTIONS", "a:-1", "SANDBOX_OPENSEA_COLLECTIONS: 'a:-1' is not a name and a number"),
        ("SANDBOX_NOW", "tomorrow", "SANDBOX_NOW: 'tomorrow' is not an ISO time such as 2026-11-21T13:05:00Z"),
        ("SANDBOX_YELOW_ROWS", "5", "SANDBOX_YELOW_ROWS is not a setting of the sandbox; use one of SANDBOX_CACHE_DIR"),
    ],
)
def test_each_kind_of_wrong_setting_is_named_with_its_remedy(name: str, value: str, said: str) -> None:
    with pytest.raises(SettingsError) as raised:
        read_settings({name: value}, cache_dir="somewhere")

    assert str(raised.value).startswith(said)


def test_flags_win_over_the_environment_and_empty_variables_count_as_unset() -> None:
    environ = {"SANDBOX_DATA": "from-env", "SANDBOX_NOW": "", "SANDBOX_GREEN_ROWS": "7", "HOME": "/somewhere"}
    environ["SANDBOX_X_POSTS"] = "one:0, two:12"

    settings = read_settings(environ, data=Path("from-flag"), cache_dir="cache")

    assert settings == Settings(
        data=Path("from-flag"), cache_dir=Path("cache"), green_rows=7, x_posts={"one": 0, "two": 12}
    )


def test_a_data_folder_that_cannot_be_served_is_named_and_the_sandbox_does_not_start(tmp_path: Path) -> None:
    said = refused("--data", str(tmp_path / "missing"))

    assert f"--data {tmp_path / 'missing'} does not exist" in said
    assert said.count("\n") == 1


def test_each_kind_of_data_folder_that_cannot_be_served_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    for folder, fault in ((tmp_path / "file", "is not a folder"), (tmp_path, "no folder named openweather/ or tlc/")):
        with pytest.raises(DataError, match=fault):
            create_app(Settings(data=folder, cache_dir=tmp_path))


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "is not readable JSON"),
        (b'{"name": "Oslo", ', "is not readable JSON"),
        (b'{"name": "Oslo", "dt": 1, "main": {"temp": NaN}}', "NaN is not a JSON value"),
        (b'{"name": "\xff"}', "is not readable JSON"),
        (b"[" * 100_000, "is not readable JSON"),
        (b"[1, 2]", "payload 1 is not a JSON object"),
        (b'[{"name": "Oslo", "dt": 1}, {"dt": 1}]', "payload 2 cannot be found by its name (Field required)"),
        (b'{"name": "Oslo", "dt": "yesterday"}', "by its dt (Input should be a valid integer)"),
        (b'{"name": "Oslo", "dt": 1, "coord": 5}', "cannot be found by its coord"),
        (b'{"name": "Oslo", "dt": 1, "coord": {"lat": "x", "lon": 1}}', "cannot be found by its coord.lat"),
    ],
)
def test_a_bad_payload_file_is_named(tmp_path: Path, content: bytes, fault: str) -> None:
    (tmp_path / "openweather").mkdir()
    path = tmp_path / "openweather" / "oslo.json"
    path.write_bytes(content)

    with pytest.raises(DataError) as raised:
        create_app(Settings(data=tmp_path, cache_dir=tmp_path))

    assert str(raised.value).startswith(str(path))
    assert fault in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_front_page_and_the_docs_say_what_this_is(sandbox: Sandbox) -> None:
    assert "Stands in for the public APIs" in sandbox.get("/").text
    assert sandbox.get("/docs").status_code == 200
    paths = sandbox.get("/openapi.json").json()["paths"]
    assert {"/data/2.5/weather", "/trip-data/{name}", "/_sandbox/faults", "/healthz"} <= set(paths)


def test_the_sandbox_leaves_nothing_behind_when_it_is_stopped(tmp_path: Path) -> None:
    with running(TMPDIR=str(tmp_path), SANDBOX_GREEN_ROWS="100") as sandbox:
        assert sandbox.get("/trip-data/green_tripdata_2024-01.parquet").status_code == 200
        assert list(tmp_path.rglob("*.parquet"))
    assert list(tmp_path.iterdir()) == []


def test_a_sandbox_with_a_cache_of_its_own_makes_no_temporary_folder(tmp_path: Path) -> None:
    (tmp_path / "temporary").mkdir()
    with running("--cache-dir", str(tmp_path / "cache"), TMPDIR=str(tmp_path / "temporary")):
        assert list((tmp_path / "temporary").iterdir()) == []
