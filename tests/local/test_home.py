"""The state folder: who may read what, and what is kept."""

import json
from pathlib import Path

import pytest

from local import airflow
from local.home import APIS_WITH_KEY, KEYS, LocalError, open_home
from local.services import SERVICES


def test_secrets_are_generated_once_and_only_their_owner_can_read_them(tmp_path: Path) -> None:
    first = open_home(tmp_path / "home")
    assert open_home(tmp_path / "home").secrets == first.secrets
    assert (tmp_path / "home" / "secrets.json").stat().st_mode & 0o777 == 0o600
    assert first.passwords_file.stat().st_mode & 0o777 == 0o600
    assert len(set(first.secrets.values())) == len(first.secrets)


def test_others_may_pass_through_the_folder_but_read_nothing_in_it(tmp_path: Path) -> None:
    home = open_home(tmp_path / "home")
    assert home.path.stat().st_mode & 0o777 == 0o711
    for path in home.path.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path


def test_secrets_that_were_made_readable_are_closed_again(tmp_path: Path) -> None:
    open_home(tmp_path)
    (tmp_path / "secrets.json").chmod(0o644)
    open_home(tmp_path)
    assert (tmp_path / "secrets.json").stat().st_mode & 0o777 == 0o600


def test_a_secret_that_a_later_version_wants_is_added_and_the_others_stay(tmp_path: Path) -> None:
    before = open_home(tmp_path).secrets
    kept = {name: value for name, value in before.items() if name != "s3_secret_key"}
    (tmp_path / "secrets.json").write_text(json.dumps(kept))
    after = open_home(tmp_path).secrets
    assert {name: after[name] for name in kept} == kept
    assert after["s3_secret_key"] not in ("", before["s3_secret_key"])


def test_a_damaged_state_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    open_home(tmp_path)
    (tmp_path / "state.json").write_text("{")
    with pytest.raises(LocalError, match=r"state\.json is not the JSON that Sluice wrote .* down --purge"):
        open_home(tmp_path)


def test_the_sandbox_takes_the_key_that_each_connection_to_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for api in airflow.APIS:
        monkeypatch.delenv(f"AIRFLOW_CONN_{api.upper()}", raising=False)
        monkeypatch.delenv(f"SANDBOX_{api.upper()}_KEY", raising=False)
    home = open_home(tmp_path)
    home.ports.update(postgres=1, s3=2, smtp=3, sandbox=4)

    connections = airflow.connections(home)
    (sandbox,) = (service for service in SERVICES if service.name == "sandbox")

    keys = sandbox.env(home)
    assert len(set(keys.values())) == len(keys) == len(KEYS)
    for api in APIS_WITH_KEY:
        connection = json.loads(connections[f"AIRFLOW_CONN_{api.upper()}"])
        assert (connection["host"], connection["port"]) == ("127.0.0.1", 4)
        assert connection["password"] == keys[f"SANDBOX_{api.upper()}_KEY"]
