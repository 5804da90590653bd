"""What a run is about: asked for, else the Airflow Variable, else the default of source.yml."""

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from include.pipeline.factory import run_params
from include.pipeline.model import load_source

DEFAULT = {"services": ["yellow", "green"], "date": None, "from_landing": False}


def params(conf: dict[str, Any] | None, given: dict[str, Any]) -> dict[str, Any]:
    return run_params(load_source("tlc"), {"dag_run": SimpleNamespace(conf=conf), "params": DEFAULT | given})


def test_a_variable_overrides_the_default_and_what_was_asked_for_overrides_both(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert params(None, {}) == DEFAULT
    monkeypatch.setenv("AIRFLOW_VAR_TLC__SERVICES", '["green"]')
    assert params({}, {}) == DEFAULT | {"services": ["green"]}
    assert params({"services": ["yellow"]}, {"services": ["yellow"]}) == DEFAULT | {"services": ["yellow"]}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ('"green"', r'Variable tlc__services is not a JSON list of texts such as \["yellow"\]; correct it'),
        ("green", "is not a JSON list of texts"),
        ("[]", "is not a JSON list of texts"),
        ("[1]", "is not a JSON list of texts"),
        ('["blue"]', "Variable tlc__services: 'blue' is not one of yellow, green; correct it"),
    ],
)
def test_a_variable_that_the_form_would_refuse_is_refused(
    monkeypatch: pytest.MonkeyPatch, value: str, message: str
) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_TLC__SERVICES", value)
    with pytest.raises(AirflowFailException, match=message):
        params({}, {})
