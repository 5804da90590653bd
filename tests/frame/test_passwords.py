"""No password that is the same everywhere: what is shipped holds none, and set-up takes none of the example's."""

import json
import re

import pytest
import yaml

from local import airflow, services
from local.home import Home, open_home
from tests.frame.conftest import PROJECT

SHIPPED = ("Dockerfile", "local/docker/Dockerfile", "docker-compose.override.yml", "airflow_settings.example.yaml")
# NAME_PASSWORD=value, password: value and the like; a value that begins with $ is a reference
SET = re.compile(
    r"(?i)\b(\w*(?:password|passwd|secret|token|api_?key|access_?key)\w*)['\"]?\s*[:=]\s*['\"]?([^\s'\"$#]+)"
)


@pytest.mark.parametrize("name", SHIPPED)
def test_what_is_shipped_sets_no_password(name: str) -> None:
    # ${NAME:?is not set} is a reference too
    lines = (line.partition(" #")[0] for line in (PROJECT / name).read_text().splitlines() if line[:1] != "#")
    text = re.sub(r"\$\{[^}]*\}", "$", "\n".join(lines))
    assert SET.findall(text) == []


def test_the_search_knows_a_password_when_it_sees_one() -> None:
    for line in ("POSTGRES_PASSWORD: sluice", "ENV API_KEY='abc'", 'secret_key = "x"', "    password: 1234"):
        assert SET.findall(line), line
    assert not SET.findall('PGPASSWORD="$$POSTGRES_PASSWORD" python')


def test_dbts_profile_has_no_password_of_its_own() -> None:
    outputs = yaml.safe_load((PROJECT / "dbt_project" / "profiles.yml").read_text())["sluice"]["outputs"]
    assert {output["password"] for output in outputs.values()} == {"{{ env_var('SLUICE_DBT_PASSWORD', '') }}"}


def test_every_home_of_the_local_stack_makes_its_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    first, second = (open_home(tmp_path_factory.mktemp("home")) for _ in range(2))
    assert first.secrets.keys() == second.secrets.keys()
    assert not set(first.secrets.values()) & set(second.secrets.values())
    assert (first.path / "secrets.json").stat().st_mode & 0o077 == 0
    for home in (first, second):
        home.ports |= {name: 1 for one in services.SERVICES for name in (one.name, *one.inner_ports)}
    assert not passwords(first) & passwords(second)


def passwords(home: Home) -> set[str]:
    """Of all connections that the home's Airflow has."""
    return {one["password"] for one in map(json.loads, airflow.connections(home).values()) if one.get("password")}
