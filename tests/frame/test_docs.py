"""What the documentation names exists: links, files and folders, and the launcher's commands with their options."""

import argparse
import re
import shlex
from pathlib import Path

import pytest

from local.__main__ import _parser
from tests.frame.conftest import PROJECT

PAGES = sorted(
    [*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md"), *(PROJECT / "include" / "sources").glob("*/README.md")]
)
# Where a page's paths may begin, besides at the page.
ROOTS = [PROJECT, PROJECT / "dbt_project"]
# In S3, in the folder for --data, on a web server, or made when it runs: nothing that a checkout holds.
ELSEWHERE = re.compile(
    r"landing/|lake/|mirror/|drop/|DIR/|/|s3:|https?:|\.sluice|\.venv/|\.\./shared|logs/|\.env$|airflow_settings\.yaml$"
)


def named(page: Path) -> list[str]:
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)\s#]+)[^)]*\)", text)
    paths = re.findall(r"`([\w.*<>-]+(?:/(?:[\w.*<>-]|\{[\w, ]+\})+)+/?)`", text)
    return [one for one in [*links, *paths] if not ELSEWHERE.match(one)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    missing = []
    for name in named(page):
        pattern = re.sub(r"<[^>]+>", "*", name).rstrip("/")
        if not any(list(root.glob(one)) for root in [page.parent, *ROOTS] for one in alternatives(pattern)):
            missing.append(name)
    assert missing == []


def alternatives(pattern: str) -> list[str]:
    found = re.fullmatch(r"(.*)\{(.*)\}(.*)", pattern)
    return [found[1] + one.strip() + found[3] for one in found[2].split(",")] if found else [pattern]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_the_launcher_takes_every_command_that_a_page_shows(page: Path, tmp_path: Path) -> None:
    text = page.read_text(encoding="utf-8")
    shown = re.findall(r"^ {4}\./sluice (.+)$|`\./sluice ([^`]+)`", text, re.MULTILINE)
    for command in (block or inline for block, inline in shown):
        arguments = shlex.split(command, comments=True)
        try:
            _parser().parse_args([str(tmp_path) if one == "DIR" else one for one in arguments])
        except (SystemExit, argparse.ArgumentError):
            pytest.fail(f"./sluice {command}: the launcher refuses it")
