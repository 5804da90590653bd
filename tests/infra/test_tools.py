"""What others' tools say of infra/ and the workflows. A tool that cannot be had skips its test, and says why."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.frame.conftest import PROJECT, Run, call
from tests.infra.templates import TEMPLATES

CHECKOV = "checkov==3.3.30"
WORKFLOWS = sorted((PROJECT / ".github" / "workflows").glob("*.yml"))
UNITS = PROJECT / "infra" / "systemd"


def test_cfn_lint_has_nothing_to_say(run: Run) -> None:
    """Errors, warnings (such as W3037, an IAM action that does not exist), advice; of what: .cfnlintrc.yaml."""
    done = run("cfn-lint", "--include-checks", "I")
    assert done.returncode == 0, done.stdout
    assert done.stdout.strip() == ""


@pytest.mark.parametrize(
    ("right", "wrong", "rule"),
    [
        ("secretsmanager:GetSecretValue", "secretsmanager:GetSecretValues", "W3037"),
        ("Type: AWS::SQS::Queue\n", "Type: AWS::SQS::Cue\n", "E3006"),
    ],
)
def test_cfn_lint_finds_what_is_wrong(right: str, wrong: str, rule: str, run: Run, tmp_path: Path) -> None:
    """It reads these templates, and by these rules."""
    (file,) = [name for name in TEMPLATES if right in (PROJECT / "infra" / "templates" / name).read_text()]
    broken = tmp_path / file
    broken.write_text((PROJECT / "infra" / "templates" / file).read_text().replace(right, wrong, 1))
    done = run("cfn-lint", "--template", broken, cwd=tmp_path)
    assert done.returncode != 0
    assert rule in done.stdout


def test_checkov_has_nothing_to_say_but_what_is_skipped_with_a_reason(uv: Run, tmp_path: Path) -> None:
    """In a folder of its own: what it brings along is no concern of ours."""
    installed = uv("pip", "install", "--quiet", "--target", tmp_path / "checkov", CHECKOV)
    assert installed.returncode == 0, installed.stdout
    command = ["python", "-m", "checkov.main", "--framework", "cloudformation", "--skip-download", "--output", "json"]
    places: list[str | Path] = ["--directory", PROJECT / "infra" / "templates", "--output-file-path", tmp_path]
    done = call([*command, *places], cwd=tmp_path, env={"PYTHONPATH": str(tmp_path / "checkov")})
    found: dict[str, Any] = json.loads((tmp_path / "results_json.json").read_text())
    failed = [f"{one['check_id']} {one['file_path']} {one['resource']}" for one in found["results"]["failed_checks"]]
    assert failed == [], done.stdout
    assert found["summary"]["passed"] > 80
    skipped = {one["check_id"] for one in found["results"]["skipped_checks"]}
    assert skipped == {skip["id"] for _, skip in skips()}


def skips() -> list[tuple[str, dict[str, str]]]:
    """What the templates have checkov skip, by resource."""
    return [
        (f"{file}:{name}", skip)
        for file, template in TEMPLATES.items()
        for name, resource in template["Resources"].items()
        for skip in resource.get("Metadata", {}).get("checkov", {}).get("skip", [])
    ]


def test_each_skip_of_checkov_has_a_reason() -> None:
    """A sentence, not a word."""
    assert skips()
    for where, skip in skips():
        assert re.fullmatch(r"CKV2?_AWS_\d+", skip["id"]), where
        assert len(skip["comment"]) > 40, where


def test_actionlint_has_nothing_to_say() -> None:
    """CI runs it in a container; here where it is installed. GitHub's schema is held to in tests/frame everywhere."""
    found = shutil.which("actionlint")
    if found is None:
        pytest.skip("actionlint is not on PATH (its Python package downloads it from GitHub when it is installed)")
    done = subprocess.run([found, "-no-color", *WORKFLOWS], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflow_pins_its_actions_and_may_do_no_more_than_it_must(path: Path) -> None:
    """By commit, which a tag's owner cannot move; rights for each job, none by default but reading."""
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        more = set(job.get("permissions", {}).items()) - {("contents", "read")}
        assert more <= {("id-token", "write")}, name
        assert bool(more) == any("configure-aws-credentials" in str(step.get("uses")) for step in job.get("steps", []))
        for step in job.get("steps", []):
            uses = step.get("uses")
            assert uses is None or re.fullmatch(r"[\w./-]+@[0-9a-f]{40}|docker://[\w./-]+:[\d.]+", uses), uses
            assert "${{" not in step.get("run", ""), f"{name}: a script takes values by its environment"
            if uses and "checkout" in uses:
                assert step["with"]["persist-credentials"] is False
    for line in path.read_text().splitlines():
        assert "uses: " not in line or "@" not in line or re.search(r"# v\d+\.\d+\.\d+$", line), line


def test_only_a_tag_deploys_and_only_after_ci() -> None:
    """In the environment that the role trusts."""
    workflow = yaml.safe_load((PROJECT / ".github" / "workflows" / "deploy.yml").read_text())
    assert workflow[True] == {"push": {"tags": ["v*"]}}  # YAML's `on`
    job = workflow["jobs"]["deploy"]
    assert job["needs"] == "ci"
    assert job["environment"] == TEMPLATES["github.yaml"]["Parameters"]["Environment"]["Default"]
    assert workflow["concurrency"]["cancel-in-progress"] is False


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    """`systemd-analyze verify`, with the paths of a machine that has them."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    airflow = tmp_path / "sluice" / ".venv" / "bin" / "airflow"
    airflow.parent.mkdir(parents=True)
    airflow.touch(0o755)
    units = tmp_path / "units"
    units.mkdir()
    for unit in UNITS.iterdir():
        (units / unit.name).write_text(unit.read_text().replace("/opt/sluice", str(tmp_path / "sluice")))
    names = [
        unit.name.replace("@.", f"@{instance}.")
        for unit in sorted(UNITS.iterdir())
        for instance in (("api-server", "scheduler", "dag-processor", "triggerer") if "@" in unit.name else ("",))
    ]
    done = subprocess.run(
        [analyze, "verify", "--man=no", *(str(units / name) for name in names)],
        capture_output=True,
        text=True,
        check=False,
        env={"SYSTEMD_UNIT_PATH": f"{units}:"},
    )
    assert done.returncode == 0, done.stderr
    ours = [line for line in done.stderr.splitlines() if "sluice" in line]
    assert ours == [], done.stderr


def test_target_wants_each_service_of_airflow() -> None:
    """That `airflow standalone` runs too."""
    wants = re.findall(r"sluice-airflow@([\w-]+)\.service", (UNITS / "sluice.target").read_text())
    assert sorted(wants) == ["api-server", "dag-processor", "scheduler", "triggerer"]
