"""Pages: each kind is walked to its end and no further, whatever the records; walks without end are refused."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import TypeAdapter

from include.extract import Api, ApiClient, ApiError
from include.extract.paging import Page, Paging, PagingError, iter_pages
from tests.extract.conftest import Answer, Request, Server

SIZE = 3

KINDS: dict[str, dict[str, Any]] = {
    "page": {"kind": "page", "parameter": "page", "size_parameter": "limit", "size": SIZE},
    "page, last known": {"kind": "page", "parameter": "page", "last": "meta.pages"},
    "offset": {"kind": "offset", "parameter": "skip", "size_parameter": "limit", "size": SIZE},
    "token": {"kind": "token", "parameter": "token", "next": "meta.next_token"},
    "cursor": {"kind": "cursor", "parameter": "after", "field": "at.id", "size_parameter": "limit", "size": SIZE},
    "link": {"kind": "link", "next": "meta.next"},
    "link header": {"kind": "link", "header": True},
}  # fmt: skip


def paging(**fields: object) -> Paging:
    made: Paging = TypeAdapter[Paging](Paging).validate_python(fields)
    return made


def walk(server: Server, *, hosts: tuple[str, ...] = (), records: str = "data", **fields: object) -> list[Page]:
    api = Api(connection="shop", base_url=server.url, key="k" * 8, key_in="header", key_name="x-key", retries=0)
    api = Api(**{**vars(api), "allowed_hosts": hosts})
    with ApiClient(api) as client:
        return list(iter_pages(client, "/things", {"q": "all"}, paging=paging(**fields), records=records))


def shop(count: int, at: Callable[[], str]) -> Callable[[Request], Answer]:
    """An API of so many things that knows every kind of paging."""

    def answer(request: Request) -> Answer:
        assert request.query["q"] == ["all"]
        ask = {name: values[0] for name, values in request.query.items()}
        begin = next(
            (
                to_start(ask[name])
                for name, to_start in (
                    ("page", lambda page: (int(page) - 1) * SIZE),
                    ("skip", int),
                    ("token", lambda token: int(token.removeprefix("t"))),
                    ("after", lambda last: int(last) + 1),
                )
                if name in ask
            ),
            0,
        )
        things = [{"at": {"id": number}} for number in range(count)][begin : begin + SIZE]
        rest = begin + SIZE < count
        link = f"/things?q=all&skip={begin + SIZE}"
        meta = {"pages": max(1, -(-count // SIZE))} | (
            {"next_token": f"t{begin + SIZE}", "next": f"{at()}{link}"} if rest else {}
        )
        headers = {"Link": f'<{at()}>; rel="first", <{link}>; rel="next"'} if rest else {}
        return Answer(body=json.dumps(({"data": things} if things else {}) | {"meta": meta}).encode(), headers=headers)

    return answer


@pytest.mark.parametrize("count", [0, 1, SIZE - 1, SIZE, SIZE + 1, 2 * SIZE, 2 * SIZE + 1])
@pytest.mark.parametrize("kind", KINDS)
def test_every_record_comes_once_whatever_their_number(server: Server, kind: str, count: int) -> None:
    server.answer = shop(count, lambda: server.url)
    pages = walk(server, **KINDS[kind])
    assert [record["at"]["id"] for page in pages for record in page.records] == [str(n) for n in range(count)]
    assert [record for page in pages for record in json.loads(page.body).get("data", [])] == [
        {"at": {"id": n}} for n in range(count)
    ]
    full, asked = -(-count // SIZE), len(server.requests)
    assert asked <= full + 1
    if kind in ("page, last known", "token", "link", "link header"):
        assert asked == max(1, full)


def chain(next_of: Callable[[int], dict[str, object]]) -> Callable[[Request], Answer]:
    """Pages of one record each, never the same, with a `meta` of one's own."""
    numbers: Iterator[int] = iter(range(10_000))

    def answer(_: Request) -> Answer:
        number = next(numbers)
        return Answer(body=json.dumps({"data": [number], "meta": next_of(number)}).encode())

    return answer


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_chain_that_leads_in_a_circle_is_refused(server: Server, length: int) -> None:
    server.answer = chain(lambda number: {"next_token": f"t{number % length}"})
    with pytest.raises(PagingError, match="leads in a circle, and nothing was landed"):
        walk(server, **KINDS["token"])
    assert len(server.requests) == length + 1


def test_an_api_that_does_not_heed_the_page_is_refused(server: Server) -> None:
    server.answer = lambda _: Answer(body=json.dumps({"data": [1, 2, 3]}).encode())
    with pytest.raises(PagingError, match=r"page 2 is the same as the one before: the API does not heed .* page"):
        walk(server, **KINDS["page"])
    assert len(server.requests) == 2


def test_a_chain_without_end_stops_at_its_limit(server: Server) -> None:
    server.answer = chain(lambda number: {"next_token": f"t{number}"})
    with pytest.raises(
        PagingError, match=r"more than 5 pages, and nothing was landed; raise request\.paging\.max_pages"
    ):
        walk(server, **KINDS["token"], max_pages=5)
    assert len(server.requests) == 5


@pytest.mark.parametrize("field", ["link", "link header"])
def test_a_link_to_a_foreign_host_is_refused_before_anything_is_sent_there(
    server: Server, other_server: Server, field: str
) -> None:
    link = f"{other_server.url}/things"
    server.answer = lambda _: Answer(
        body=json.dumps({"data": [1], "meta": {"next": link}}).encode(), headers={"Link": f'<{link}>; rel="next"'}
    )
    with pytest.raises(ApiError, match="which is no allowed host"):
        walk(server, **KINDS[field])
    assert other_server.requests == []
    # once it is allowed it is asked, and never gets the key
    other_server.answer = lambda _: Answer(body=b'{"data": []}')
    walk(server, hosts=(f"127.0.0.1:{other_server.port}",), **KINDS[field])
    assert "x-key" not in {name.lower() for name in other_server.requests[0].headers}
    assert "x-key" in {name.lower() for name in server.requests[0].headers}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<html>", "answered with what is not JSON"),
        (b'{"data": "none"}', "at data of the answer is str, no array or object"),
        (b'{"data": [1], "meta": {"pages": "many"}}', "no number of pages at meta.pages but 'many'"),
    ],
)
def test_a_page_that_cannot_be_followed_says_why(server: Server, body: bytes, message: str) -> None:
    server.answer = lambda _: Answer(body=body)
    with pytest.raises(ApiError, match=message):
        walk(server, **KINDS["page, last known"])


def test_large_numbers_pass_unharmed(server: Server) -> None:
    # 2**200 and a double beyond range: nothing here computes with them
    server.answer = lambda _: Answer(
        body=b'{"data": [1606938044258990275541962092341162602522202993782792835301376, 1e999]}'
    )
    (page,) = walk(server, **KINDS["token"])
    assert page.records == ["1606938044258990275541962092341162602522202993782792835301376", "1e999"]
