"""The linters' verdict on the whole project, as pre-commit gives it on a commit."""

from pathlib import Path

import pytest
import yaml

from tests.frame.conftest import BIN, PROJECT, Run


def test_ruff_finds_no_fault(run: Run) -> None:
    """Rules: pyproject.toml."""
    done = run("ruff", "check", "--no-cache", "--output-format=concise", ".")
    assert done.returncode == 0, done.stdout


def test_python_is_formatted(run: Run) -> None:
    """As `ruff format` does it."""
    done = run("ruff", "format", "--no-cache", "--check", ".")
    assert done.returncode == 0, done.stdout


def test_types_hold_under_mypy_strict(run: Run) -> None:
    """Which folders: pyproject.toml."""
    done = run("mypy")
    assert done.returncode == 0, done.stdout


def test_yaml_is_in_order(run: Run) -> None:
    """Rules: .yamllint.yml."""
    done = run("yamllint", "--strict", ".")
    assert done.returncode == 0, done.stdout


def test_shell_scripts_are_in_order(run: Run, tracked: list[Path]) -> None:
    """Whatever begins as a shell script does."""
    scripts = [path for path in tracked if _is_shell(PROJECT / path)]
    assert Path("sluice") in scripts
    done = run("shellcheck", *scripts)
    assert done.returncode == 0, done.stdout


def test_pre_commit_needs_no_network_and_finds_its_tools(run: Run) -> None:
    """Every hook is local, and runs a tool that the project's environment holds."""
    done = run("pre-commit", "validate-config")
    assert done.returncode == 0, done.stdout
    config = yaml.safe_load((PROJECT / ".pre-commit-config.yaml").read_text())
    assert [repo["repo"] for repo in config["repos"]] == ["local"]
    for hook in config["repos"][0]["hooks"]:
        assert hook["language"] == "system", hook["id"]
        folder, tool = hook["entry"].split()[0].rsplit("/", 1)
        assert folder == ".venv/bin", hook["id"]
        assert (BIN / tool).exists(), f"{hook['id']}: {tool} is not in the environment"


@pytest.mark.parametrize("path", sorted((PROJECT / ".github" / "workflows").glob("*.yml")), ids=lambda path: path.name)
def test_workflow_fits_githubs_schema(path: Path, run: Run) -> None:
    """The schema that check-jsonschema ships."""
    done = run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", path)
    assert done.returncode == 0, done.stdout


def _is_shell(path: Path) -> bool:
    if path.suffix == ".sh":
        return True
    if path.suffix:
        return False
    with path.open("rb") as file:
        head = file.readline(80)
    return head.startswith(b"#!") and head.rstrip().endswith((b"sh", b"bash"))
