"""What may lie in the repository: no path of anybody's machine, no registry's host, no secret, nothing large."""

import math
import re
from collections import Counter
from pathlib import Path

import pytest

from tests.frame.conftest import PROJECT

LARGEST = 1024 * 1024  # bytes
LOCK = Path("uv.lock")  # generated: it names the registry of each package, and is large

_ROOTS = "|".join(["work", "tmp", "mnt", r"root/\w+", r"home/\w+", r"Users/\w+"])
MACHINE_PATH = re.compile(rf"(?<![\w.~$}})>*/-])/(?:{_ROOTS})(?:/|(?=[\s'\"`)]))")
_HOSTS = "|".join([r"pypi\.", r"pythonhosted\.", r"npmjs\.", r"proxy\.golang\.", r"anaconda\.", r"crates\."])
REGISTRY_HOST = re.compile(rf"\b(?:{_HOSTS})(?:org|com|io)\b")
SECRETS = {
    "AWS access key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY"),
    "GitHub token": re.compile(r"\b(?:gh[pousr]_\w{36}|github_pat_\w{22,})"),
    "Slack token": re.compile(r"\bxox[abprs]-\w{10,}"),
    "JSON web token": re.compile(r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}"),
    "X bearer token": re.compile(r"\bA{20,}[\w%]{30,}"),
    "Fernet key": re.compile(r"(?<![\w+/=-])[\w-]{43}=(?![\w=])"),
}
HEX_KEY = re.compile(r"(?<![0-9a-fA-F-])[0-9a-f]{32}(?![0-9a-fA-F-])")  # as OpenWeather's keys


@pytest.fixture(scope="module")
def texts(tracked: list[Path]) -> dict[Path, str]:
    """Every text file but the lock."""
    found = {}
    for path in tracked:
        content = (PROJECT / path).read_bytes()
        if path != LOCK and b"\0" not in content[:8192]:
            found[path] = content.decode(errors="replace")
    return found


def test_no_file_names_a_path_of_a_machine(texts: dict[Path, str]) -> None:
    """It would work there alone."""
    assert not _matches(texts, MACHINE_PATH)


def test_no_file_names_the_host_of_a_package_registry(texts: dict[Path, str]) -> None:
    """Which one to use is up to the machine's own settings; a document may link to a page for people."""
    assert not _matches({path: text for path, text in texts.items() if path.suffix != ".md"}, REGISTRY_HOST)


@pytest.mark.parametrize("kind", SECRETS)
def test_no_file_holds_what_looks_like_a_secret(kind: str, texts: dict[Path, str]) -> None:
    """Secrets live in Airflow's connections or a secrets backend alone."""
    assert not _matches(texts, SECRETS[kind])


def test_no_file_holds_what_looks_like_an_api_key(texts: dict[Path, str]) -> None:
    """32 random hex digits; a key made up for a test should look made up (repeat a few digits).

    dbt's unit tests expect hashes, which look the same: they are the surrogate keys of made-up rows.
    """
    others = {path: text for path, text in texts.items() if path.parts[:2] != ("dbt_project", "models")}
    assert not [found for found in _matches(others, HEX_KEY) if _is_random(found.rpartition(": ")[2])]


def test_no_file_is_larger_than_a_mebibyte(tracked: list[Path]) -> None:
    """Real payloads stay outside."""
    assert not [str(path) for path in tracked if path != LOCK and (PROJECT / path).stat().st_size > LARGEST]


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (MACHINE_PATH, "cd /" + "work/main"),
        (MACHINE_PATH, "see '/" + "tmp/spec.md'"),
        (MACHINE_PATH, "`/" + "home/ann/sluice`"),
        (REGISTRY_HOST, "https://" + "pypi." + "org/simple"),
        (SECRETS["AWS access key"], "AKIA" + "ABCDEFGHIJKLMNOP"),
        (SECRETS["private key"], "-----BEGIN RSA " + "PRIVATE KEY-----"),
        (SECRETS["Fernet key"], "key: " + "d" * 43 + "="),
        (HEX_KEY, "appid=" + "0a1b2c3d4e5f6071" + "8293a4b5c6d7e8f9"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_patterns_find_what_they_are_for(pattern: re.Pattern[str], text: str) -> None:
    """Otherwise the tests above pass for ever."""
    assert pattern.search(text)


def _matches(texts: dict[Path, str], pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{path}:{number}: {match[0]}"
        for path, text in texts.items()
        for number, line in enumerate(text.splitlines(), 1)
        for match in pattern.finditer(line)
    ]


def _is_random(digits: str) -> bool:
    """Whether hex digits have the look of a generated key: many different ones, in no order."""
    counts = Counter(digits)
    entropy = -sum(count / len(digits) * math.log2(count / len(digits)) for count in counts.values())
    repeats = any(digits == (digits[:size] * len(digits))[: len(digits)] for size in (1, 2, 4, 8, 10, 16))
    return entropy > 3.0 and not repeats
