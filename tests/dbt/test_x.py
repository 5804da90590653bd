"""Posts of X: versions become one post each, counts one snapshot a day, and texts arrive as they were written."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from include.gates import check_tables, load_gates
from include.gates.rules import LayerName
from tests.dbt.project import PROJECT, DbtError, Project

SOCIAL = ("tag:x",)
GATES = PROJECT.parent / "include" / "sources" / "x" / "gates.yml"
LAYERS: tuple[LayerName, ...] = ("raw", "staging", "marts")

NASTY = {
    "1001": "first line\nsecond line\r\n\tthird \\n line",
    "1002": "👩\u200d👩\u200d👧\u200d👦 🏳️\u200d🌈 \U0001f1f3\U0001f1f4 e\u0301 \u00e9 \ufeff",
    # right to left: Hebrew with an override, Arabic, Hebrew with vowels in an isolate
    "1003": "\u202e\u05e9\u05dc\u05d5\u05dd\u202c \u0627\u0644\u0639 \u2066\u05e2\u05b4\u05d1\u05b0\u05e8\u2069",
    "1004": "x" * 24_990 + "\n👋 end 🔚",
    "1005": "'; drop table marts.fact_post; -- {{ ref('x') }} %s $1 \x01\x02\x1f",
    "1006": "",
    "1007": "   ",
    "1008": "null",
}


def account(account_id: str = "11", username: str = "harbour_news", **other: object) -> dict[str, Any]:
    """An account as the lookup gives it, except for what is said otherwise."""
    return {
        "id": account_id,
        "username": username,
        "name": username.replace("_", " ").title(),
        "created_at": "2013-12-14T04:35:55.000Z",
        "verified": False,
        "protected": False,
        "public_metrics": {"followers_count": 7, "following_count": 5, "tweet_count": 3, "listed_count": 1},
    } | other


def post(post_id: int | str, likes: int = 0, **other: object) -> dict[str, Any]:
    """A post as the timeline gives it, except for what is said otherwise."""
    return {
        "id": str(post_id),
        "text": f"post {post_id}",
        "author_id": "11",
        "created_at": "2026-11-19T23:59:59.000Z",
        "edit_history_tweet_ids": [str(post_id)],
        "lang": "en",
        "public_metrics": {
            "retweet_count": 1, "reply_count": 2, "like_count": likes, "quote_count": 0, "bookmark_count": 0,
            "impression_count": 100,
        },
    } | other  # fmt: skip


def land(project: Project, day: str, posts: Sequence[dict[str, Any]]) -> int:
    return project.load_records("x", "posts", day, posts, {"user_id": "11"})


def engagement(project: Project) -> list[tuple[Any, ...]]:
    """Post, day, likes, engagements, landing."""
    return project.rows(
        "select post_id, snapshot_date::text, likes, engagements, _landing_id from marts.fact_post_engagement "
        "where post_id in ('1', '2', '3') order by 1, 2"
    )


@pytest.fixture(scope="module")
def timeline(project: Project) -> dict[str, int]:
    """One account and two posts of the 20th, and what is hard to keep, built with all tests and unit tests."""
    ids = {
        "accounts": project.load_records("x", "accounts", "2026-11-20", [account()], {"username": "harbour_news"}),
        "posts": land(
            project, "2026-11-20", [post(2, 4), post(1), *(post(key, text=text) for key, text in NASTY.items())]
        ),
    }
    project.build(list(ids.values()), SOCIAL, unit_tests=True)
    return ids


@pytest.fixture(scope="module")
def next_day(project: Project, timeline: dict[str, int]) -> int:
    """The 21st: a new post, and the look-back has one of the two again, with more likes."""
    landing_id = land(project, "2026-11-21", [post(3), post(2, 9)])
    project.build([landing_id], SOCIAL)
    return landing_id


@pytest.mark.parametrize("post_id", NASTY)
def test_text_arrives_byte_for_byte(project: Project, timeline: dict[str, int], post_id: str) -> None:
    assert project.rows("select post_text from marts.fact_post where post_id = %s", post_id) == [(NASTY[post_id],)]


def test_counts_that_change_update_the_post_and_give_a_new_snapshot(
    project: Project, timeline: dict[str, int], next_day: int
) -> None:
    first = timeline["posts"]
    assert engagement(project) == [
        ("1", "2026-11-20", 0, 3, first),
        ("2", "2026-11-20", 4, 7, first),
        ("2", "2026-11-21", 9, 12, next_day),
        ("3", "2026-11-21", 0, 3, next_day),
    ]
    assert project.rows(
        "select post_id, likes, _landing_id from marts.fact_post where post_id in ('1', '2', '3') order by 1"
    ) == [("1", 0, first), ("2", 9, next_day), ("3", 0, next_day)]


def test_building_again_changes_nothing(project: Project, timeline: dict[str, int], next_day: int) -> None:
    before = project.fingerprint()
    project.build([next_day], SOCIAL)
    project.build(list(timeline.values()), SOCIAL)
    assert project.fingerprint() == before
    project.build((), SOCIAL)
    assert project.fingerprint() == before
    project.build((*timeline.values(), next_day), (*SOCIAL, "dim_date"))
    project.dbt("run", "--select", *SOCIAL, "--exclude", "dim_date", "us_federal_holidays", "--full-refresh")
    assert project.fingerprint() == before


@pytest.mark.parametrize("layer", LAYERS)
def test_gates_pass_a_day_and_a_day_without_posts(
    project: Project, timeline: dict[str, int], next_day: int, layer: LayerName
) -> None:
    quiet = land(project, "2026-11-22", [])
    project.build([quiet], SOCIAL)
    for landing_ids, entities in (
        ([next_day], ["posts"]), ([quiet], ["posts"]), (list(timeline.values()), ["accounts", "posts"]),
    ):  # fmt: skip
        verdict = check_tables(
            load_gates(GATES).layer(layer),
            url=project.warehouse.dsn("sluice_gate"), schema=layer, landing_ids=landing_ids, entities=entities,
        )  # fmt: skip
        assert verdict.passed, verdict.table()
        assert not verdict.warnings, verdict.table()


def test_gate_sees_a_text_that_was_changed_on_the_way_and_a_post_that_was_lost(
    project: Project, timeline: dict[str, int]
) -> None:
    def failed() -> set[str]:
        verdict = check_tables(
            load_gates(GATES).layer("marts"), url=project.warehouse.dsn("sluice_gate"), schema="marts",
            landing_ids=list(timeline.values()), entities=["accounts", "posts"],
        )  # fmt: skip
        return {result.table for result in verdict.results if not result.success}

    project.rows("update marts.fact_post set post_text = trim(post_text) where post_id = '1007'")
    assert failed() == {"fact_post"}
    project.rows("update marts.fact_post set post_text = %s where post_id = '1007'", NASTY["1007"])
    project.rows("delete from marts.fact_post_engagement where post_id = '1008'")
    assert failed() == {"fact_post_engagement"}
    with pytest.raises(DbtError, match="every_post_has_its_engagement"):
        project.dbt("test", "--select", "fact_post_engagement", landing_ids=list(timeline.values()))
    project.build([timeline["posts"]], ("fact_post_engagement",))
    assert failed() == set()


def test_day_of_posts_costs_the_same_whatever_the_history(
    project: Project, timeline: dict[str, int], next_day: int
) -> None:
    # below some 100,000 rows Postgres takes reading them all for cheaper than the index, and is right
    ids = [
        land(project, f"2025-0{month}-01", [post(month * 100_000 + at) for at in range(35_000)])
        for month in range(1, 5)
    ]
    project.build(ids, ("fact_post", "fact_post_engagement"))
    project.rows("analyze")

    new = land(project, "2026-11-23", [post(4), post(3, 1)])
    tables = f"^(marts.fact_post|raw.x__posts(?!_{new}))"
    before = project.scanned(tables)
    project.build([new], SOCIAL)
    assert project.scanned(tables, since=before) == {}


def test_naughty_strings_arrive_byte_for_byte(project: Project, timeline: dict[str, int], real_data: Path) -> None:
    strings: list[str] = json.loads((real_data / "nasty" / "blns.json").read_bytes())
    posts = [post(5_000_000 + at, text=text) for at, text in enumerate(strings)]
    posts += [
        post(6_000_000 + at, text=text[:2], note_tweet={"text": text})
        for at, text in enumerate(strings)
    ]  # fmt: skip
    landing_id = land(project, "2026-11-24", posts)
    project.build([landing_id], SOCIAL)
    found = dict(
        project.rows("select post_id::bigint, post_text from marts.fact_post where _landing_id = %s", landing_id)
    )
    for at, text in enumerate(strings):
        # what Postgres cannot hold is replaced by rule
        wanted = text.replace("\0", "\ufffd").encode()
        assert found[5_000_000 + at].encode() == wanted
        assert found[6_000_000 + at].encode() == wanted
    assert len(found) == 2 * len(strings) > 1_000


def test_real_pages_become_posts_each_once(project: Project, timeline: dict[str, int], real_data: Path) -> None:
    pages = [
        json.loads(path.read_bytes())
        for folder in ("", "dart_pagination")
        for path in sorted((real_data / "x" / "v2" / folder).glob("*.json"))
    ]
    posts = [record for page in pages for record in page["data"]]
    texts = {record["id"]: record["text"] for record in posts}
    assert len(posts) > len(texts) > 100  # the four pages of one of the folders repeat each other
    landing_id = land(project, "2026-11-25", posts)
    project.build([landing_id], SOCIAL)
    # these pages leave out the author: the request knows him
    assert project.rows(
        "select post_id, post_text from marts.fact_post where _landing_id = %s and account_id = '11' order by 1",
        landing_id,
    ) == sorted(texts.items())
    assert project.rows(
        "select count(*), count(likes) from marts.fact_post_engagement where snapshot_date = '2026-11-25'"
    ) == [(len(texts), 0)]
