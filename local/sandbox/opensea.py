"""OpenSea's API v2, as much of it as a collection needs: https://docs.opensea.io/reference/api-overview.

Stands in for `https://api.opensea.io`: the NFTs of a collection in pages with an opaque cursor, the collection, its
stats. Shapes are those of the OpenAPI document that OpenSea publishes (schemas `Nft`, `CollectionDetailedResponse`,
`CollectionStatsResponse`, errors `V1ErrorWrapper`). Real NFTs under `--data` come first in their collection.
"""

import base64
import hashlib
import json
from collections import defaultdict
from datetime import date
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response

from local.sandbox.access import Quota, is_accepted
from local.sandbox.data import DataError, read_payloads
from local.sandbox.nfts import Collection
from local.sandbox.settings import Settings

NAME = "opensea"
HOUR = 3600
MOST_A_PAGE = 200
USUAL_PAGE = 50
_KEY = [{"name": "x-api-key", "in": "header", "description": "The API key.", "schema": {"type": "string"}}]
_PAGE = [
    {
        "name": "limit",
        "in": "query",
        "description": f"NFTs a page, 1 to {MOST_A_PAGE} (default {USUAL_PAGE}).",
        "schema": {"type": "integer"},
    },
    {"name": "next", "in": "query", "description": "The cursor of the page before.", "schema": {"type": "string"}},
]


class _Refusal(Exception):  # noqa: N818 - an answer, not a fault of ours
    """What a request deserves instead of data."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}


def router(settings: Settings) -> APIRouter:
    """The routes of the API.

    Raises:
        DataError: A payload under `--data` that is no page of NFTs, no NFT and none of API v1.
    """
    routes = APIRouter(tags=[NAME])
    real = _real(settings.data / NAME if settings.data else None)
    sizes = dict.fromkeys(real, 0) | settings.opensea_collections
    collections = {slug: Collection(slug, size) for slug, size in sizes.items()}
    quota = Quota(settings.opensea_calls_per_hour, HOUR)

    def answered(request: Request, slug: str, what: str) -> Response:
        headers: dict[str, str] = {}
        try:
            key = request.headers.get("x-api-key")
            if not is_accepted(key, settings.opensea_key):
                raise _Refusal(401, "Invalid or missing API key")
            headers = _spend(quota, key)
            if slug not in collections:
                raise _Refusal(404, f"Collection with slug {slug[:100]} not found")
            collection, today = collections[slug], settings.clock().date()
            match what:
                case "nfts":
                    body = _page(request, collection, real.get(slug, []), today)
                case "stats":
                    body = collection.stats(today)
                case _:
                    body = collection.details(today)
        except _Refusal as refusal:
            return _answer(refusal.status, {"errors": [str(refusal)]}, headers | refusal.headers)
        return _answer(200, body, headers)

    @routes.get("/api/v2/collection/{slug}/nfts", openapi_extra={"parameters": [*_PAGE, *_KEY]})
    def nfts(slug: str, request: Request) -> Response:
        """The NFTs of a collection; the last page has no `next`."""
        return answered(request, slug, "nfts")

    @routes.get("/api/v2/collections/{slug}", openapi_extra={"parameters": _KEY})
    def collection(slug: str, request: Request) -> Response:
        """One collection."""
        return answered(request, slug, "details")

    @routes.get("/api/v2/collections/{slug}/stats", openapi_extra={"parameters": _KEY})
    def stats(slug: str, request: Request) -> Response:
        """What was sold of a collection."""
        return answered(request, slug, "stats")

    return routes


def _spend(quota: Quota, key: str | None) -> dict[str, str]:
    grant = quota.take(key)
    headers = {
        "X-RateLimit-Limit": str(grant.limit),
        "X-RateLimit-Remaining": str(grant.remaining),
        "X-RateLimit-Reset": str(grant.reset),
    }
    if not grant.is_granted:
        raise _Refusal(429, "Rate limit exceeded", headers)
    return headers


def _answer(status: int, body: dict[str, Any], headers: dict[str, str]) -> Response:
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return Response(text, status, headers, media_type="application/json")


# --- pages ------------------------------------------------------------------------------------------------------------


def _page(request: Request, collection: Collection, real: list[dict[str, Any]], today: date) -> dict[str, Any]:
    """One page: real NFTs, then synthetic ones by number, which is what a cursor holds on to."""
    limit = request.query_params.get("limit", str(USUAL_PAGE))
    if not (limit.isascii() and limit.isdecimal() and 1 <= int(limit[:9]) <= MOST_A_PAGE):
        raise _Refusal(400, f"limit must be a number from 1 to {MOST_A_PAGE}")
    taken = {(nft["contract"].lower(), nft["identifier"]) for nft in real}
    members = collection.members(today)
    # Real NFTs have the places below the synthetic ones' numbers.
    places = [*range(-len(real), 0), *members]
    cursor = request.query_params.get("next")
    start = _place(cursor, collection.slug) if cursor else places[0] if places else 0
    found: list[dict[str, Any]] = []
    for place in places:
        if place < start:
            continue
        if len(found) == int(limit):
            return {"nfts": found, "next": _cursor(collection.slug, place)}
        nft = real[place] if place < 0 else collection.nft(place, today)
        if place < 0 or (nft["contract"], nft["identifier"]) not in taken:
            found.append(nft)
    return {"nfts": found}


def _cursor(slug: str, place: int) -> str:
    """Opaque to clients; the digest tells one of ours from one made up or of another collection."""
    text = f"{place}:{_digest(slug, str(place))}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _place(cursor: str, slug: str) -> int:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        place, _, digest = text.partition(":")
        if digest == _digest(slug, place):
            return int(place)
    except ValueError:
        pass
    raise _Refusal(400, "next is not a cursor of this collection")


def _digest(slug: str, place: str) -> str:
    return hashlib.sha256(f"cursor/{slug}/{place}".encode()).hexdigest()[:16]


# --- real payloads ----------------------------------------------------------------------------------------------------


def _real(folder: Path | None) -> dict[str, list[dict[str, Any]]]:
    """The NFTs of the folder's payloads by their collection: pages of v2, or NFTs one by one.

    Payloads of API v1 lie in such folders too. That API is gone, so none of its routes serves them.
    """
    # Recorded answers overlap; a collection has each NFT once.
    found: dict[str, dict[tuple[str, str], dict[str, Any]]] = defaultdict(dict)
    for payload in read_payloads(folder) if folder is not None else ():
        if "assets" in payload.value or "token_id" in payload.value:
            continue
        nfts = payload.value.get("nfts", [payload.value.get("nft", payload.value)])
        for nft in nfts if isinstance(nfts, list) else [nfts]:
            named = isinstance(nft, dict) and all(isinstance(nft.get(k), str) for k in _FOUND_BY)
            if not named:
                fault = f"{payload.origin} has an NFT without {', '.join(_FOUND_BY)}"
                raise DataError(f"{fault}; mend it or take it out of --data")
            found[nft["collection"]][nft["contract"].lower(), nft["identifier"]] = nft
    return {slug: list(nfts.values()) for slug, nfts in found.items()}


_FOUND_BY = ("collection", "contract", "identifier")
