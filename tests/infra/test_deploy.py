"""The deployment to a real S3 server: what is put where, in which order, and what Airflow makes of it at any moment."""

import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from infra.deploy import package
from infra.deploy.__main__ import main
from infra.deploy.bucket import CURRENT, KEPT
from tests.conftest import S3
from tests.frame.conftest import PROJECT, call
from tests.infra.conftest import DAG_FILE, Container, WorkingCopy, content, edition, listing

DESCRIBE = """
import json, sys
from pathlib import Path
from airflow import settings
from airflow.dag_processing.dagbag import BundleDagBag

settings.prepare_syspath_for_config_and_plugins()
dags = Path(sys.argv[1])
bag = BundleDagBag(dag_folder=dags, bundle_path=dags, bundle_name="dags-folder")
told = {
    dag_id: {"description": dag.description, "file": dag.relative_fileloc, "tasks": sorted(dag.task_ids)}
    for dag_id, dag in bag.dags.items()
}
json.dump({"errors": bag.import_errors, "dags": told}, open(sys.argv[2], "w"))
"""


def parsed(container: Container) -> dict[str, Any]:
    """What Airflow's own parser finds in the container: import errors, and DAGs by their ids."""
    out = container.home / "parsed.json"
    done = call(["python", "-c", DESCRIBE, container.dags, out], cwd=container.home, env=container.env)
    assert done.returncode == 0, done.stdout
    found: dict[str, Any] = json.loads(out.read_text())
    return found


@pytest.fixture
def env(container: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process's environment is the container's, for `chosen`."""
    for name, value in container.env.items() | {"SLUICE_DBT_PROJECT_DIR": "", "SLUICE_DBT_MANIFEST": ""}.items():
        monkeypatch.setenv(name, value)


def chosen(container: Container) -> Path:
    """The release that `include` is taken from in this process, whose environment is the container's."""
    (folder,) = runpy.run_path(str(container.plugins / "include" / "__init__.py"))["__path__"]
    return Path(folder).parent


def signs(changes: list[Any]) -> list[str]:
    """`+ key`, without a release's size."""
    return [f"{change.sign} {change.what.partition(' (')[0]}" for change in changes]


def test_first_deployment_puts_the_release_and_what_lies_around_it(s3: S3, working_copy: WorkingCopy) -> None:
    """And nothing else."""
    working_copy.deploy(s3, "prod/")
    release = package.release(working_copy.path).id
    assert set(listing(s3)) == {
        f"prod/{key}"
        for key in (
            f"dags/releases/{release}/dags/only.py",
            f"dags/releases/{release}/include/__init__.py",
            f"dags/releases/{release}/include/more.py",
            f"dags/releases/{release}/include/words.py",
            f"dags/releases/{release}/dbt_target/manifest.json",
            f"dags/releases/{release}/release.json",
            CURRENT,
            "dags/.airflowignore",
            "dags/constraints.txt",
            "dags/only.py",
            "plugins.zip",
            "requirements.txt",
            "startup.sh",
        )
    }


def test_second_deployment_changes_nothing(s3: S3, working_copy: WorkingCopy) -> None:
    """Not even a version of an object."""
    working_copy.deploy(s3)
    wrote: list[str] = []
    s3.client.meta.events.register("before-call.s3", lambda model, **_: wrote.append(model.name))
    assert working_copy.deploy(s3) == []
    assert not {"PutObject", "DeleteObject"} & set(wrote), wrote


def test_dry_run_says_all_and_writes_nothing(s3: S3, working_copy: WorkingCopy) -> None:
    """Into an empty bucket, and over a former release."""
    said = signs(working_copy.deploy(s3, dry_run=True))
    assert listing(s3) == {}
    assert said == signs(working_copy.deploy(s3))
    before = listing(s3)
    working_copy.write(edition("two"))
    (working_copy.path / "dags" / "only.py").rename(working_copy.path / "dags" / "other.py")
    said = signs(working_copy.deploy(s3, dry_run=True))
    assert listing(s3) == before
    assert said == signs(working_copy.deploy(s3))


def test_changes_are_named(s3: S3, working_copy: WorkingCopy) -> None:
    """A DAG file that came, one that went, and the release that is in force."""
    working_copy.deploy(s3)
    (working_copy.path / "dags" / "only.py").rename(working_copy.path / "dags" / "other.py")
    release = package.release(working_copy.path).id
    assert signs(working_copy.deploy(s3)) == [
        f"+ dags/releases/{release}/",
        "+ dags/other.py",
        f"~ {CURRENT}: {release}",
        "- dags/only.py",
    ]
    assert "dags/only.py" not in listing(s3)


def test_former_releases_go_but_for_those_that_tasks_may_have_begun_with(s3: S3, working_copy: WorkingCopy) -> None:
    """Newest first, and what is back in force is not kept twice."""
    ids = []
    for number in range(KEPT + 2):
        working_copy.write(edition(str(number)))
        working_copy.deploy(s3)
        ids.append(package.release(working_copy.path).id)
    assert content(s3, CURRENT).decode().split() == ids[: -KEPT - 1 : -1]
    assert {key.split("/")[2] for key in listing(s3) if key.startswith("dags/releases/") and key != CURRENT} == set(
        ids[-KEPT:]
    )
    working_copy.write(edition(str(KEPT)))  # the one before
    assert signs(working_copy.deploy(s3)) == [f"~ {CURRENT}: {ids[-2]}"]
    assert content(s3, CURRENT).decode().split() == [ids[-2], ids[-1], ids[-3]]


def test_release_in_force_is_whole_after_each_single_write(s3: S3, working_copy: WorkingCopy) -> None:
    """Every file that release.json names is there with its size, from the first deployment on."""
    moments: list[tuple[dict[str, int], list[str]]] = []

    def look(model: Any, **_: object) -> None:  # noqa: ANN401 - botocore's, which has no types
        if model.name in {"PutObject", "DeleteObject"}:
            held = listing(s3)
            moments.append((held, content(s3, CURRENT).decode().split() if CURRENT in held else []))

    s3.client.meta.events.register("after-call.s3", look)
    for number in range(KEPT + 2):
        working_copy.write(edition(str(number)) | {f"dags/dag_{number}.py": DAG_FILE.replace("only", str(number))})
        working_copy.deploy(s3)
    assert len(moments) > 8 * KEPT
    whole = {key for key in moments[-1][0] if key.endswith("release.json")}
    assert len(whole) == KEPT
    for held, current in moments:
        for release in current[:1]:
            folder = f"dags/releases/{release}/"
            assert f"{folder}release.json" in held
            if folder + "release.json" in whole:
                sizes = json.loads(content(s3, folder + "release.json"))
                assert {path: held.get(folder + path) for path in sizes} == sizes


@pytest.mark.usefixtures("env")
def test_deployment_that_breaks_off_leaves_the_former_release_and_is_gone_on_from(
    s3: S3, working_copy: WorkingCopy, container: Container
) -> None:
    """At each write in turn."""
    working_copy.deploy(s3)
    working_copy.write(edition("two"))
    release = package.release(working_copy.path).id
    former = content(s3, CURRENT).decode().strip()
    writes = 6  # the release's files, release.json, current
    for last in range(writes):
        done = 0

        def stop(model: Any, last: int = last, **_: object) -> None:  # noqa: ANN401 - botocore's, which has no types
            nonlocal done
            if model.name == "PutObject":
                if done == last:
                    raise ConnectionAbortedError
                done += 1

        s3.client.meta.events.register("before-call.s3", stop)
        with pytest.raises(ConnectionAbortedError):
            working_copy.deploy(s3)
        s3.client.meta.events.unregister("before-call.s3", stop)
        assert content(s3, CURRENT).decode().split() == [former]
        if f"dags/releases/{release}/release.json" in listing(s3):
            break
    container.sync(s3)
    assert chosen(container).name == former
    working_copy.deploy(s3)
    container.sync(s3)
    assert chosen(container).name == release


@pytest.mark.usefixtures("env")
def test_half_arrived_release_is_not_taken(s3: S3, working_copy: WorkingCopy, container: Container) -> None:
    """MWAA copies file by file, the pointer maybe first: while any file is missing or short, the former one counts."""
    working_copy.deploy(s3)
    working_copy.write(edition("two"))
    working_copy.deploy(s3)
    container.sync(s3)
    folder = container.dags / "releases" / package.release(working_copy.path).id
    assert chosen(container) == folder
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        whole = path.read_bytes()
        if whole:
            path.write_bytes(whole[:-1])
            assert chosen(container) != folder, path
        path.unlink()
        assert chosen(container) != folder, path
        if path.name == "more.py":  # Airflow sees no DAG of two halves
            found = parsed(container)
            assert found["errors"] == {}
            assert found["dags"]["only"]["description"] == "one one"
        path.write_bytes(whole)
    assert chosen(container) == folder


@pytest.mark.usefixtures("env")
def test_container_without_a_whole_release_says_so(s3: S3, working_copy: WorkingCopy, container: Container) -> None:
    """An import error, not a DAG of two halves."""
    working_copy.deploy(s3)
    container.sync(s3)
    (container.dags / "releases" / package.release(working_copy.path).id / "include" / "more.py").unlink()
    with pytest.raises(ImportError, match="has arrived whole"):
        chosen(container)


def test_foreign_files_below_dags_go_and_others_stay(s3: S3, working_copy: WorkingCopy) -> None:
    """`dags/` is ours alone."""
    for key in ("dags/foreign.py", "notes.txt", "other/dags/theirs.py"):
        s3.client.put_object(Bucket=s3.bucket, Key=key, Body=b"x")
    working_copy.deploy(s3)
    assert {"notes.txt", "other/dags/theirs.py"} <= set(listing(s3))
    assert "dags/foreign.py" not in listing(s3)


def test_manifest_of_another_project_is_refused(working_copy: WorkingCopy) -> None:
    """By the first model that is in one of them alone."""
    nodes = {"a": {"resource_type": "model", "original_file_path": "models/a.sql"}}
    with pytest.raises(package.PackageError, match=re.escape("dbt_project/models/a.sql is in one of them alone")):
        package.with_manifest(package.release(working_copy.path), json.dumps({"nodes": nodes}).encode())


def test_requirements_are_ours_under_constraints_that_mwaa_can_install() -> None:
    """The same pins, but for boto3, which is the image's; and the image's own pins are among the constraints."""
    first, *lines = package.requirements().splitlines()
    assert first == '--constraint "/usr/local/airflow/dags/constraints.txt"'
    ours = [line for line in (PROJECT / "requirements.txt").read_text().splitlines() if re.match(r"\w", line)]
    assert lines == [line for line in ours if not line.startswith("boto3==")]
    held = dict(
        line.lower().split("==")
        for line in (PROJECT / "infra/mwaa/constraints.txt").read_text().split()
        if "==" in line
    )
    image = re.findall(r"^([\w.-]+)(?:\[.*\])?==(\S+)", (PROJECT / "infra/mwaa/image.txt").read_text(), re.MULTILINE)
    assert len(image) > 15
    assert {name.lower(): held.get(name.lower()) for name, _ in image} == {name.lower(): at for name, at in image}


def test_constraints_of_other_requirements_are_refused(working_copy: WorkingCopy) -> None:
    """A new pin without new constraints would fail in MWAA, minutes after the deployment."""
    (working_copy.path / "requirements.txt").write_text("pandas==0.1\n")
    with pytest.raises(package.PackageError, match="make the constraints anew"):
        package.around(working_copy.path)


@pytest.fixture
def keys(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    """boto3's own variables lead to the test's server."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3.secret_key)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


@pytest.mark.usefixtures("keys")
def test_command_prints_changes_and_versions_and_then_that_there_are_none(
    s3: S3, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a bucket that keeps versions, as MWAA wants it."""
    s3.client.put_bucket_versioning(Bucket=s3.bucket, VersioningConfiguration={"Status": "Enabled"})
    command = ["--bucket", s3.bucket, "--endpoint-url", s3.endpoint_url, "--manifest", str(manifest)]
    assert main(command) == 0
    first = capsys.readouterr().out
    assert f"+ {CURRENT}" in first
    assert set(re.findall(r"^(\w+Version)=\S{8,}$", first, re.MULTILINE)) == {
        "RequirementsVersion",
        "PluginsVersion",
        "StartupVersion",
    }
    assert main(command) == 0
    second = capsys.readouterr().out
    assert second.startswith("= nothing to change\n")
    assert re.findall(r"\w+Version=.*", second) == re.findall(r"\w+Version=.*", first)
    s3.client.put_bucket_versioning(Bucket=s3.bucket, VersioningConfiguration={"Status": "Suspended"})


@pytest.mark.usefixtures("keys")
def test_missing_bucket_is_named(s3: S3) -> None:
    """Not a stack trace."""
    with pytest.raises(SystemExit, match=r"bucket no-such-bucket: there is none"):
        main(["--bucket", "no-such-bucket", "--endpoint-url", s3.endpoint_url])


def test_every_dag_parses_from_the_deployed_layout(deployed: Container) -> None:
    """The same DAGs and tasks as drawn in tests/frame/graphs; each from the file that stays where it is."""
    found = parsed(deployed)
    assert found["errors"] == {}
    sources = {path.parent.name for path in (PROJECT / "include" / "sources").glob("*/source.yml")}
    own = {path.stem for path in (PROJECT / "dags").glob("*.py")} - {"sources", "source_faults"}
    assert set(found["dags"]) == sources | own
    assert {name: dag["file"] for name, dag in found["dags"].items()} == {
        **dict.fromkeys(sources, "sources.py"),
        **{name: f"{name}.py" for name in own},
    }
    for name in sources:
        drawn = (PROJECT / "tests" / "frame" / "graphs" / f"{name}.txt").read_text()
        assert set(re.findall(r"[\w.]+", drawn)) == set(found["dags"][name]["tasks"])


def test_triggerer_finds_our_triggers_in_the_deployed_layout(deployed: Container) -> None:
    """It imports them by name, without the DAGs folder on its path."""
    script = (
        "import sys\n"
        "import airflow\n"
        "from airflow import settings\n"
        "from airflow._shared.module_loading import import_string\n"
        "settings.initialize()\n"
        f"assert {str(deployed.dags)!r} not in sys.path\n"
        "print(import_string('include.extract.api_up.ApiUpTrigger').__name__)\n"
    )
    done = call(["python", "-c", script], cwd=deployed.home, env=deployed.env)
    assert done.stdout.strip().endswith("ApiUpTrigger"), done.stdout
