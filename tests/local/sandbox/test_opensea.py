"""The stand-in for OpenSea's API v2."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from local.sandbox.data import DataError
from local.sandbox.nfts import Collection
from local.sandbox.opensea import router
from local.sandbox.settings import Settings
from tests.local.sandbox.conftest import KEY, NOW, Sandbox

# The schemas of https://api.opensea.io's OpenAPI document (github.com/ProjectOpenSea/api-types, opensea-api.json), with
# one thing relaxed: what the document calls optional is null in real answers as often as it is absent.
STRING, BOOLEAN, NUMBER, INTEGER = ({"type": kind} for kind in ("string", "boolean", "number", "integer"))


def _object(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    nullable = {name: {"anyOf": [schema, {"type": "null"}]} for name, schema in (optional or {}).items()}
    return {
        "type": "object",
        "properties": required | nullable,
        "required": list(required),
        "additionalProperties": False,
    }


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


TRAIT = _object({"trait_type": STRING, "value": {}}, {"display_type": STRING, "max_value": STRING})
NFT = _object(
    dict.fromkeys(
        ("identifier", "collection", "contract", "token_standard", "opensea_url", "updated_at"),
        STRING,
    )
    | {"is_disabled": BOOLEAN, "is_nsfw": BOOLEAN, "traits": _list(TRAIT)},
    dict.fromkeys(
        (
            *("name", "description", "image_url", "display_image_url", "display_animation_url", "metadata_url"),
            *("original_image_url", "original_animation_url"),
        ),
        STRING,
    )
    | {"estimated_value_usd": NUMBER},
)
TOKEN = _object(
    dict.fromkeys(("symbol", "address", "chain", "image", "name", "eth_price", "usd_price"), STRING)
    | {"decimals": INTEGER}
)
NFTS = _object({"nfts": _list(NFT)}, {"next": STRING})
COLLECTION = _object(
    {
        **dict.fromkeys(("collection", "name", "safelist_status", "opensea_url", "created_date"), STRING),
        **dict.fromkeys(("is_disabled", "is_nsfw", "trait_offers_enabled", "collection_offers_enabled"), BOOLEAN),
        "contracts": _list(_object({"address": STRING, "chain": STRING})),
        "editors": _list(STRING),
        "fees": _list(_object({"fee": NUMBER, "recipient": STRING, "required": BOOLEAN})),
        "total_supply": INTEGER,
        "unique_item_count": INTEGER,
        "pricing_currencies": _object({"listing_currency": TOKEN, "offer_currency": TOKEN}),
    },
    {
        **dict.fromkeys(
            (
                *("description", "image_url", "banner_image_url", "owner", "category", "project_url", "wiki_url"),
                *("discord_url", "telegram_url", "twitter_username", "instagram_username", "required_zone"),
            ),
            STRING,
        ),
        "rarity": _object(
            {
                **dict.fromkeys(("calculated_at", "strategy_id", "strategy_version"), STRING),
                **dict.fromkeys(("max_rank", "total_supply"), INTEGER),
            }
        ),
    },
)
STATS = _object(
    {
        "total": _object(
            {"volume": NUMBER, "sales": INTEGER, "num_owners": INTEGER, "floor_price": NUMBER}
            | {"floor_price_symbol": STRING}
        ),
        "intervals": _list(_object({"interval": STRING, "volume": NUMBER, "sales": INTEGER})),
    }
)
ERROR = _object({"errors": _list(STRING)})
SIZES = {"friendsies": 450, "cryptodevamigos": 201, "harbour-lights": 30}


def get(sandbox: Sandbox, path: str, **query: object) -> requests.Response:
    params = {name: str(value) for name, value in query.items()}
    return sandbox.get(f"/api/v2/{path}", params=params, headers={"x-api-key": KEY})


def pages(sandbox: Sandbox, slug: str, limit: int = 200, schema: dict[str, Any] = NFTS) -> list[list[dict[str, Any]]]:
    """The NFTs of a collection, page by page to the last."""
    found, query = [], {"limit": str(limit)}
    while True:
        answer = get(sandbox, f"collection/{slug}/nfts", **query).json()
        assert list(Draft202012Validator(schema).iter_errors(answer)) == []
        found.append(answer["nfts"])
        if "next" not in answer:
            return found
        query["next"] = answer["next"]


def nfts(sandbox: Sandbox, slug: str) -> dict[str, dict[str, Any]]:
    """The NFTs of a collection by their identifier."""
    return {nft["identifier"]: nft for page in pages(sandbox, slug) for nft in page}


@pytest.mark.parametrize("slug", SIZES)
def test_every_answer_is_as_the_open_api_document_has_it(sandbox: Sandbox, slug: str) -> None:
    assert [len(page) for page in pages(sandbox, slug)] == [
        min(200, SIZES[slug] - start) for start in range(0, SIZES[slug], 200)
    ]
    for path, schema in ((f"collections/{slug}", COLLECTION), (f"collections/{slug}/stats", STATS)):
        answer = get(sandbox, path)
        assert answer.headers["content-type"] == "application/json"
        assert list(Draft202012Validator(schema).iter_errors(answer.json())) == []
    assert get(sandbox, f"collections/{slug}").json()["unique_item_count"] == SIZES[slug]


def test_stats_cover_a_day_a_week_and_a_month(sandbox: Sandbox) -> None:
    stats = get(sandbox, "collections/friendsies/stats").json()

    assert [one["interval"] for one in stats["intervals"]] == ["one_day", "seven_day", "thirty_day"]
    sales = [one["sales"] for one in stats["intervals"]] + [stats["total"]["sales"]]
    assert sales == sorted(sales)


def test_identifiers_are_text_that_only_whole_numbers_of_256_bits_tell_apart(sandbox: Sandbox) -> None:
    ids = [int(nft["identifier"]) for slug in SIZES for nft in nfts(sandbox, slug).values()]

    assert 2**200 < max(ids) < 2**256
    assert len(set(ids)) > len({float(id_) for id_ in ids}), "as floats some would be the same"
    assert min(ids) < 10_000


def test_names_images_and_values_are_missing_here_and_there(sandbox: Sandbox) -> None:
    found = [nft for slug in SIZES for nft in nfts(sandbox, slug).values()]

    for name in ("name", "description", "image_url"):
        assert any(nft.get(name, "absent") is None for nft in found), name
        assert any(nft.get(name) for nft in found), name
    for name in ("description", "metadata_url", "estimated_value_usd"):
        assert any(name not in nft for nft in found), name
    assert any(nft["traits"] == [] for nft in found)
    assert {type(trait["value"]) for nft in found for trait in nft["traits"]} == {str, int}


@pytest.mark.parametrize("size", [0, 1, 4, 5, 6, 10])
def test_at_every_edge_of_a_page_each_nft_is_served_once(start: Callable[..., Sandbox], size: int) -> None:
    sandbox = start(SANDBOX_NOW=NOW, SANDBOX_OPENSEA_COLLECTIONS=f"edge:{size}")

    found = pages(sandbox, "edge", limit=5)

    assert [len(page) for page in found] == ([5] * (size // 5) + [size % 5] * (size % 5 > 0) or [0])
    assert len({nft["identifier"] for page in found for nft in page}) == size
    assert get(sandbox, "collections/friendsies").status_code == 404


def test_fifty_are_served_unless_told_otherwise(sandbox: Sandbox) -> None:
    assert len(get(sandbox, "collection/friendsies/nfts").json()["nfts"]) == 50


def test_a_cursor_says_nothing_to_a_client_and_is_good_for_its_collection_alone(sandbox: Sandbox) -> None:
    cursor = get(sandbox, "collection/friendsies/nfts", limit=10).json()["next"]

    assert not cursor.isdecimal()
    assert get(sandbox, "collection/friendsies/nfts", limit=10, next=cursor).status_code == 200
    for wrong in (
        get(sandbox, "collection/cryptodevamigos/nfts", next=cursor),
        get(sandbox, "collection/friendsies/nfts", next=cursor[:-2]),
        get(sandbox, "collection/friendsies/nfts", next="%ff.é"),
    ):
        assert (wrong.status_code, wrong.json()) == (400, {"errors": ["next is not a cursor of this collection"]})


@pytest.mark.parametrize(
    ("path", "query", "status", "error"),
    [
        ("collection/nope/nfts", {}, 404, "Collection with slug nope not found"),
        ("collections/nope", {}, 404, "Collection with slug nope not found"),
        ("collections/nope/stats", {}, 404, "Collection with slug nope not found"),
        ("collection/friendsies/nfts", {"limit": 0}, 400, "limit must be a number from 1 to 200"),
        ("collection/friendsies/nfts", {"limit": 201}, 400, "limit must be a number from 1 to 200"),
        ("collection/friendsies/nfts", {"limit": "all"}, 400, "limit must be a number from 1 to 200"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_errors(
    sandbox: Sandbox, path: str, query: dict[str, object], status: int, error: str
) -> None:
    answer = get(sandbox, path, **query)

    assert (answer.status_code, answer.json()) == (status, {"errors": [error]})
    assert Draft202012Validator(ERROR).is_valid(answer.json())


def test_a_missing_or_unknown_key_is_refused_before_anything_is_looked_up(start: Callable[..., Sandbox]) -> None:
    strict = start(SANDBOX_OPENSEA_KEY=KEY)

    for headers in ({}, {"x-api-key": "other"}, {"authorization": f"Bearer {KEY}"}):
        answer = strict.get("/api/v2/collections/nope", headers=headers)
        assert (answer.status_code, answer.json()) == (401, {"errors": ["Invalid or missing API key"]})
    assert get(strict, "collections/friendsies").status_code == 200


def test_the_quota_is_told_in_headers_and_ends_in_429(start: Callable[..., Sandbox]) -> None:
    sandbox = start(SANDBOX_OPENSEA_CALLS_PER_HOUR="3")

    answers = [get(sandbox, "collections/friendsies") for _ in range(4)]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert {answer.headers["X-RateLimit-Limit"] for answer in answers} == {"3"}
    assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["2", "1", "0", "0"]
    assert all(3500 < int(answer.headers["X-RateLimit-Reset"]) - time.time() <= 3601 for answer in answers)
    assert answers[-1].json() == {"errors": ["Rate limit exceeded"]}
    other = sandbox.get("/api/v2/collections/friendsies", headers={"x-api-key": "another"})
    assert other.status_code == 200, "a quota belongs to its key"


def test_on_the_fifteenth_one_nft_vanishes_and_one_appears(sandbox: Sandbox) -> None:
    sandbox.stop_clock("2026-12-14T23:59:00Z")
    before = nfts(sandbox, "harbour-lights")
    sandbox.stop_clock("2026-12-15T00:01:00Z")
    after = nfts(sandbox, "harbour-lights")

    assert len(before.keys() - after.keys()) == len(after.keys() - before.keys()) == 1
    assert len(after) == SIZES["harbour-lights"]


def test_values_change_from_day_to_day_and_stay_the_same_in_between(sandbox: Sandbox) -> None:
    def values(now: str) -> dict[str, Any]:
        sandbox.stop_clock(now)
        return {id_: nft.get("estimated_value_usd") for id_, nft in nfts(sandbox, "friendsies").items()}

    morning, evening, next_day = (values(now) for now in ("2026-11-21T00:00", "2026-11-21T23:59", "2026-11-22T00:00"))

    assert morning == evening
    assert sum(1 for id_, value in morning.items() if value and value != next_day[id_]) > 350
    assert all(0.5 < next_day[id_] / value < 2 for id_, value in morning.items() if value)


def test_on_the_eighth_a_few_get_another_name_another_trait_and_another_time(sandbox: Sandbox) -> None:
    sandbox.stop_clock("2026-12-07T12:00")
    before = nfts(sandbox, "friendsies")
    sandbox.stop_clock("2026-12-08T12:00")
    after = nfts(sandbox, "friendsies")

    renamed = [id_ for id_ in before if before[id_]["updated_at"] != after[id_]["updated_at"]]
    assert 5 <= len(renamed) <= 12
    for id_ in renamed:
        assert after[id_]["updated_at"].startswith("2026-12-08T04:")
    changed = [id_ for id_ in renamed if before[id_].get("name")]
    assert changed
    assert all(before[id_]["name"] != after[id_]["name"] for id_ in changed)
    for id_ in before.keys() - set(renamed):
        assert before[id_] | {"estimated_value_usd": 0} == after[id_] | {"estimated_value_usd": 0}


def test_real_nfts_come_first_and_v1_payloads_are_passed_over(start: Callable[..., Sandbox], real_data: Path) -> None:
    real = json.loads((real_data / "opensea" / "nfts.json").read_text())["nfts"]
    sandbox = start("--data", str(real_data), SANDBOX_NOW=NOW)

    page = get(sandbox, "collection/friendsies/nfts", limit=200).json()
    assert page["nfts"][0] == real[0]
    assert len(page["nfts"]) == 200
    for nft in real[1:]:
        only = get(sandbox, f"collection/{nft['collection']}/nfts").json()
        assert nft in only["nfts"]
        assert "next" not in only


def test_a_real_nft_that_is_a_synthetic_one_too_is_served_once(tmp_path: Path, start: Callable[..., Sandbox]) -> None:
    made = Collection("edge", 5)
    twin = {"collection": "edge", "contract": made.contract, "identifier": made.identifier(12), "name": "real"}
    (tmp_path / "opensea").mkdir()
    (tmp_path / "opensea" / "nft.json").write_text(json.dumps([{"nft": twin}, {"nfts": [twin]}]))
    sandbox = start("--data", str(tmp_path), SANDBOX_NOW=NOW, SANDBOX_OPENSEA_COLLECTIONS="edge:5")

    found = [nft for limit in (2, 200) for page in pages(sandbox, "edge", limit, schema={}) for nft in page]

    assert [nft["name"] for nft in found if nft["identifier"] == twin["identifier"]] == ["real", "real"]
    assert len(found) == 10


@pytest.mark.parametrize("content", ['{"name": "nothing"}', '{"nfts": [{"identifier": 1}]}', '{"nfts": [3]}'])
def test_a_payload_without_an_nft_is_named_at_the_start(tmp_path: Path, content: str) -> None:
    (tmp_path / "opensea").mkdir()
    (tmp_path / "opensea" / "page.json").write_text(content)

    with pytest.raises(DataError, match=r"page\.json, payload 1 has an NFT without collection, contract, identifier"):
        router(Settings(data=tmp_path, cache_dir=tmp_path))
