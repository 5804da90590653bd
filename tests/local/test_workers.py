"""SLUICE_WORKERS and SLUICE_BROKER_URL: what they ask for, and what is refused."""

from pathlib import Path

import pytest
import yaml

from local import airflow, ports, process, services, workers
from local.home import Home, LocalError, open_home
from tests.pipeline.test_model import RIGHT


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A folder with two sources, of which one names a queue."""
    for name, queue in (("shop", None), ("films", "heavy")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "source.yml").write_text(yaml.safe_dump(RIGHT | ({"queue": queue} if queue else {})))
    return tmp_path


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    made = open_home(tmp_path_factory.mktemp("home"))
    made.ports |= {name: 1 for one in (*services.SERVICES, services.BROKER) for name in (one.name, *one.inner_ports)}
    return made


@pytest.mark.parametrize(
    ("text", "queues"),
    [
        ("", []),
        ("0", []),
        ("2", ["default,heavy"] * 2),
        ("default heavy", ["default", "heavy"]),
        (" default,heavy  heavy ", ["default,heavy", "heavy"]),
    ],
)
def test_workers_are_a_number_or_their_queues(
    text: str, queues: list[str], sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_WORKERS", text)
    assert workers.asked(sources) == queues


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("99", "'99' is neither a number of workers up to 16 nor their queues, such as 'default heavy'"),
        ("default,,heavy", "'default,,heavy' is neither a number"),
        ("heavy", "no worker listens on the queue 'default' of every source that names no queue"),
        ("default default", "no worker listens on the queue 'heavy' of films, whose tasks would wait for ever"),
    ],
)
def test_workers_that_would_leave_a_queue_alone_are_refused(
    text: str, message: str, sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_WORKERS", text)
    with pytest.raises(LocalError) as refused:
        workers.asked(sources)
    assert message in str(refused.value)


def test_without_workers_the_scheduler_runs_the_tasks_and_there_is_no_broker(home: Home) -> None:
    assert services.of(home) == services.SERVICES
    env = airflow.scheduler_env(home)
    assert env["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"
    assert env["AIRFLOW__SCHEDULER__MP_FORKSERVER_PRELOAD"] == "local.warm"
    assert not [name for name in env if "CELERY" in name]


def test_workers_and_the_broker_of_the_stack_are_services(home: Home) -> None:
    home.state["workers"] = ["default", "heavy"]
    *others, broker, first, second = services.of(home)
    assert tuple(others) == services.SERVICES
    assert (broker.name, first.name, second.name) == ("broker", "worker-1", "worker-2")
    assert "broker" in first.needs
    assert " --queues heavy " in " ".join(second.command(home))
    workers.write_broker_settings(home)
    assert home.secrets["broker"] not in " ".join(broker.command(home))
    assert (home.path / "broker" / "valkey.conf").stat().st_mode & 0o077 == 0
    scheduler = airflow.scheduler_env(home)
    assert scheduler["AIRFLOW__CORE__EXECUTOR"] == "CeleryExecutor"
    assert "SLUICE_WARM" not in scheduler
    assert first.env(home)["SLUICE_WARM"] == "1"


def test_a_broker_that_is_there_already_is_used_instead(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_BROKER_URL", "rediss://:hush@broker.example:6379/3")
    home.state |= {"workers": ["default"], "broker_url": workers.asked_broker()}
    assert [one.name for one in services.of(home)[len(services.SERVICES) :]] == ["worker-1"]
    assert airflow.env(home)["AIRFLOW__CELERY__BROKER_URL"] == "rediss://:hush@broker.example:6379/3"


def test_a_broker_that_cannot_be_used_is_named_without_its_password(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_BROKER_URL", "amqp://:hush@broker.example")
    with pytest.raises(LocalError, match="is no URL like redis://") as refused:
        workers.asked_broker()
    assert "hush" not in str(refused.value)
    port = ports.reserve_from(26379)
    home.state |= {"workers": ["default"], "broker_url": f"redis://:hush@127.0.0.1:{port}/0"}
    with pytest.raises(LocalError, match=f"at 127.0.0.1:{port}/0 does not answer, or refuses the password") as refused:
        workers.check_broker(home)
    assert "hush" not in str(refused.value)


def test_workers_that_an_earlier_up_has_started_are_stopped_too(home: Home) -> None:
    started = {}
    for name in ("worker-2", "broker"):
        started[name] = process.spawn(["sleep", "600"], env={}, log=home.logs / "sleep.log", cwd=home.path)
        process.write_record(home.run / f"{name}.json", started[name])
    assert services.of(home) == services.SERVICES
    try:
        services.stop_all(home)
        assert not any(map(process.is_running, started.values()))
        assert not list(home.run.iterdir())
    finally:
        process.stop(started.values())
