"""NFTs of OpenSea: both versions of its API become one dimension, traits become rows, each day a snapshot."""

import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from include.gates import check_tables, load_gates
from include.gates.rules import LayerName
from tests.dbt.project import PROJECT, DbtError, Project

NFTS = ("tag:opensea",)
MODELS = ("dim_nft_collection", "dim_nft", "bridge_nft_trait", "fact_nft_snapshot", "fact_nft_collection_snapshot")
GATES = PROJECT.parent / "include" / "sources" / "opensea" / "gates.yml"
LAYERS: tuple[LayerName, ...] = ("raw", "staging", "marts")
CONTRACT = "0x5537d90a4a2dc9d9b37bab49b490cf67d4c54e91"
HARBOUR = "harbour-lights"
GREATEST = str(2**256 - 1)


def nft(identifier: int | str, collection: str = HARBOUR, **other: object) -> dict[str, Any]:
    """An NFT as the collection's list gives it, except for what is said otherwise."""
    return {
        "identifier": str(identifier),
        "collection": collection,
        "contract": CONTRACT,
        "token_standard": "erc721",
        "name": f"NFT {identifier}",
        "opensea_url": f"https://opensea.io/assets/ethereum/{CONTRACT}/{identifier}",
        "updated_at": "2026-11-19T07:34:27.289350",
        "is_disabled": False,
        "is_nsfw": False,
        "traits": [{"trait_type": "hair", "display_type": None, "max_value": None, "value": "blue"}],
    } | other


def land(project: Project, day: str, nfts: Sequence[dict[str, Any]], sales: int = 425) -> dict[str, int]:
    """A day's three landings, of the collection that all of these NFTs are said to be listed in."""
    slugs = sorted({one["collection"] for one in nfts})
    asked = [{"collection": slug} for slug in slugs]
    details = [{"collection": slug, "name": slug.title(), "total_supply": len(nfts)} for slug in slugs]
    figures = {
        "total": {
            "volume": 46.71, "sales": sales, "num_owners": 995, "floor_price": 0.007, "floor_price_symbol": "ETH",
        },
        "intervals": [
            {"interval": name, "volume": 0.5, "sales": 2} for name in ("one_day", "seven_day", "thirty_day")
        ],
    }  # fmt: skip
    return {
        "collections": project.load_records("opensea", "collections", day, details, asked),
        "stats": project.load_records("opensea", "stats", day, [figures] * len(slugs), asked),
        "nfts": project.load_records("opensea", "nfts", day, nfts, {"collection": HARBOUR}),
    }


def build(project: Project, landed: dict[str, int], *, unit_tests: bool = False) -> None:
    project.build(list(landed.values()), NFTS, unit_tests=unit_tests)


def members(project: Project, collection: str = HARBOUR) -> list[tuple[Any, ...]]:
    """Identifier, whether and since when it is delisted."""
    return project.rows(
        "select identifier, is_delisted, delisted_date::text from marts.dim_nft where collection_id = %s order by 1",
        collection,
    )


def traits(project: Project, collection: str = HARBOUR) -> list[tuple[Any, ...]]:
    """Identifier, number, type and value."""
    return project.rows(
        "select split_part(nft_key, '/', 2), trait_number, trait_type, trait_value from marts.bridge_nft_trait "
        "where collection_id = %s order by 1, 2",
        collection,
    )


@pytest.fixture(scope="module")
def first_day(project: Project) -> dict[str, int]:
    """Three NFTs of the 20th, one of them without a name or image, built with all tests and unit tests."""
    landed = land(
        project, "2026-11-20", [nft(1, estimated_value_usd="12.5"), nft(2), nft(GREATEST, name=None, image_url=None)]
    )
    build(project, landed, unit_tests=True)
    return landed


@pytest.fixture(scope="module")
def second_day(project: Project, first_day: dict[str, int]) -> dict[str, int]:
    """The 21st: the second NFT has gone, the first has other traits and another value."""
    landed = land(
        project,
        "2026-11-21",
        [
            nft(1, estimated_value_usd="13.5", traits=[{"trait_type": "hat", "value": 5}]),
            nft(GREATEST, name=None, image_url=None),
        ],
        sales=430,
    )
    build(project, landed)
    return landed


def test_identifier_of_256_bits_keeps_all_digits_and_null_names_pass(
    project: Project, first_day: dict[str, int]
) -> None:
    assert project.rows(
        "select nft_key, identifier, nft_name, image_url from marts.dim_nft where length(identifier) > 70"
    ) == [(f"{CONTRACT}/{GREATEST}", GREATEST, None, None)]


def test_nft_that_has_gone_is_marked_and_keeps_its_traits(
    project: Project, first_day: dict[str, int], second_day: dict[str, int]
) -> None:
    assert members(project) == [("1", False, None), (GREATEST, False, None), ("2", True, "2026-11-21")]
    assert traits(project) == [("1", 1, "hat", "5"), (GREATEST, 1, "hair", "blue"), ("2", 1, "hair", "blue")]
    # publish moves by landing and collection, so all of the collection is of this run
    assert project.rows("select distinct _landing_id from marts.bridge_nft_trait") == [(second_day["nfts"],)]


def test_each_day_has_its_snapshot(project: Project, first_day: dict[str, int], second_day: dict[str, int]) -> None:
    assert project.rows(
        "select snapshot_date::text, count(*), sum(estimated_value_usd) from marts.fact_nft_snapshot "
        "group by 1 order by 1"
    ) == [("2026-11-20", 3, Decimal("12.5")), ("2026-11-21", 2, Decimal("13.5"))]
    assert project.rows(
        "select snapshot_date::text, sales, one_day_sales from marts.fact_nft_collection_snapshot order by 1"
    ) == [("2026-11-20", 425, 2), ("2026-11-21", 430, 2)]


def test_building_again_changes_nothing(
    project: Project, first_day: dict[str, int], second_day: dict[str, int]
) -> None:
    before = project.fingerprint()
    build(project, second_day)
    assert project.fingerprint() == before
    project.build((), NFTS)
    assert project.fingerprint() == before


@pytest.mark.parametrize("layer", LAYERS)
def test_gates_pass_both_days_without_a_warning(
    project: Project, first_day: dict[str, int], second_day: dict[str, int], layer: LayerName
) -> None:
    for landed in (first_day, second_day):
        verdict = check_tables(
            load_gates(GATES).layer(layer),
            url=project.warehouse.dsn("sluice_gate"),
            schema=layer,
            landing_ids=list(landed.values()),
            entities=list(landed),
        )
        assert verdict.passed, verdict.table()
        assert not verdict.warnings, verdict.table()


def test_nft_that_is_back_and_a_day_landed_again_leave_the_day_as_its_last_landing_has_it(
    project: Project, first_day: dict[str, int], second_day: dict[str, int]
) -> None:
    build(project, land(project, "2026-11-22", [nft(1), nft(2), nft(3)]))
    assert members(project)[:3] == [("1", False, None), (GREATEST, True, "2026-11-22"), ("2", False, None)]
    # the same day once more: the third was a mistake of upstream, and the greatest is back
    build(project, land(project, "2026-11-22", [nft(1), nft(GREATEST), nft(2)]))
    assert members(project) == [
        ("1", False, None), (GREATEST, False, None), ("2", False, None), ("3", True, "2026-11-22"),
    ]  # fmt: skip
    assert project.rows(
        "select split_part(nft_key, '/', 2) from marts.fact_nft_snapshot where snapshot_date = '2026-11-22' order by 1"
    ) == [("1",), (GREATEST,), ("2",)]


def test_nft_that_moves_to_another_collection_takes_its_traits_along(
    project: Project, first_day: dict[str, int], second_day: dict[str, int]
) -> None:
    build(project, land(project, "2026-11-23", [nft(1), nft(2, "open-rivers"), nft(GREATEST)]))
    assert members(project, "open-rivers") == [("2", False, None)]
    assert traits(project, "open-rivers") == [("2", 1, "hair", "blue")]
    assert ("2", 1, "hair", "blue") not in traits(project)
    build(project, land(project, "2026-11-23", [nft(1), nft(2), nft(GREATEST)]))  # back, and nothing is left behind
    assert traits(project, "open-rivers") == []
    assert ("2", 1, "hair", "blue") in traits(project)
    build(project, land(project, "2026-11-23", [nft(1), nft(2, "open-rivers"), nft(GREATEST)]))
    assert traits(project, "open-rivers") == [("2", 1, "hair", "blue")]


def test_an_nft_lost_on_the_way_to_the_fact_fails_its_test(project: Project, first_day: dict[str, int]) -> None:
    last = land(project, "2026-11-24", [nft(1), nft(GREATEST)])
    build(project, last)
    project.rows("delete from marts.fact_nft_snapshot where _landing_id = %s and nft_key like '%%/1'", last["nfts"])
    with pytest.raises(DbtError, match="every_nft_of_a_snapshot_is_in_the_fact"):
        project.dbt("test", "--select", "fact_nft_snapshot", landing_ids=list(last.values()))
    verdict = check_tables(
        load_gates(GATES).layer("marts"),
        url=project.warehouse.dsn("sluice_gate"),
        schema="marts",
        landing_ids=list(last.values()),
        entities=list(last),
    )
    assert {result.table for result in verdict.results if not result.success} == {"fact_nft_snapshot"}
    build(project, last)


def test_real_files_of_both_versions_feed_the_same_dimension(
    project: Project, first_day: dict[str, int], real_data: Path
) -> None:
    files = {
        name: json.loads((real_data / "opensea" / f"{name}.json").read_bytes())
        for name in ("v1_assets_keon", "v1_asset_cryptodevamigos", "v2_nimbus_account_nfts")
    }
    ids = [
        project.load_records("opensea", "v1_assets", "2026-11-25", [files["v1_assets_keon"]]),
        project.load_records("opensea", "v1_assets", "2026-11-25", [files["v1_asset_cryptodevamigos"]]),
        project.load_records("opensea", "nfts", "2026-11-25", files["v2_nimbus_account_nfts"]["nfts"]),
    ]
    project.build(ids, NFTS)
    assert project.rows(
        "select identifier, nft_name, member.collection_id, collection_name, member.api_version, count(trait_number) "
        "from marts.dim_nft as member join marts.dim_nft_collection using (collection_id) "
        "left join marts.bridge_nft_trait using (nft_key) "
        "where member._landing_id = any(%s) and member.collection_id <> %s group by 1, 2, 3, 4, 5 order by 1",
        ids,
        HARBOUR,
    ) == [
        ("3100", "One Day I'll Be A Punk #3100", "onedaypunks", "OneDayPunks", 1, 3),
        ("3663", None, "boredapeyachtclub", None, 2, 0),
        ("7673", "fRiENDSiES 7673", "friendsies", None, 2, 0),
        ("8788", None, "boredapeyachtclub", None, 2, 0),
        ("9999", "Doodle #9999", "doodles-official", "Doodles", 1, 5),
    ]
    verdict = check_tables(
        load_gates(GATES).layer("staging"),
        url=project.warehouse.dsn("sluice_gate"),
        schema="staging",
        landing_ids=ids,
        entities=["v1_assets", "nfts"],
    )
    assert verdict.passed, verdict.table()


def test_day_costs_the_same_whatever_the_history(project: Project, first_day: dict[str, int]) -> None:
    for month in range(1, 5):
        land(project, f"2027-{month:02d}-01", [nft(at) for at in range(1, 3_001)])
    project.build((), MODELS)
    project.rows("analyze")

    new = land(project, "2027-07-01", [nft(at) for at in range(1, 3_001)])
    tables = f"^(marts.fact_nft_snapshot|raw.opensea__nfts(?!_{new['nfts']}))"
    before = project.scanned(tables)
    build(project, new)
    assert project.scanned(tables, since=before) == {}
