"""The client: the key goes out and never shows, faults are waited out, budgets and hosts are kept."""

import gzip
import logging
import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from include.extract import Api, ApiClient, ApiDown, ApiError, KeyRefused, StatusError, base_url_of
from tests.extract.conftest import Answer, Request, Server

KEY = "s3cret/+ü key"


def client(server: Server | str, minute_seconds: float = 60.0, **fields: Any) -> ApiClient:  # noqa: ANN401 - of Api
    url = server if isinstance(server, str) else server.url
    given: dict[str, Any] = {"connection": "weather", "base_url": url, "timeout_seconds": 5.0, "retries": 2}
    return ApiClient(
        Api(**given | fields), first_wait_seconds=0.01, longest_wait_seconds=0.2, minute_seconds=minute_seconds
    )


def in_query(server: Server | str, **fields: Any) -> ApiClient:  # noqa: ANN401 - fields of Api
    return client(server, key=KEY, key_in="query", key_name="appid", **fields)


def in_header(server: Server | str, **fields: Any) -> ApiClient:  # noqa: ANN401 - fields of Api
    return client(server, key=KEY, key_in="header", key_name="x-api-key", **fields)


def then(*answers: Answer) -> Callable[[Request], Answer]:
    """One answer after the other, the last for ever."""
    left = list(answers)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_a_body_comes_whole_with_its_parameters_and_its_key_sent(server: Server) -> None:
    server.answer = lambda _: Answer(body=b'{"name": "S\xc3\xa3o Paulo"}')
    with in_query(server) as api:
        assert api.get("/data/2.5/weather", {"q": "São Paulo", "n": 1}) == b'{"name": "S\xc3\xa3o Paulo"}'
    assert server.requests[0].path == "/data/2.5/weather"
    assert server.requests[0].query == {"q": ["São Paulo"], "n": ["1"], "appid": [KEY]}


def test_a_key_in_a_header_goes_there_alone(server: Server) -> None:
    with in_header(server) as api:
        api.get("/x", {})
    assert server.requests[0].query == {}
    assert server.requests[0].headers["x-api-key"].encode("latin-1").decode() == KEY


def test_paths_lie_below_the_base_url(server: Server) -> None:
    with client(f"{server.url}/api/v2/") as api:
        api.get("/nfts", {})
        api.get("nfts", {})
        api.get("//evil.example/nfts", {})
        assert api.url("nfts", {"a b": "ü"}) == f"{server.url}/api/v2/nfts?a+b=%C3%BC"
    assert [request.path for request in server.requests] == [
        "/api/v2/nfts",
        "/api/v2/nfts",
        "/api/v2/evil.example/nfts",
    ]


def test_a_compressed_answer_is_decoded(server: Server) -> None:
    server.answer = lambda _: Answer(body=gzip.compress(b'{"a": 1}'), headers={"Content-Encoding": "gzip"})
    with client(server) as api:
        assert api.get("/", {}) == b'{"a": 1}'


def test_a_body_over_the_bound_is_refused(server: Server) -> None:
    server.answer = lambda _: Answer(body=gzip.compress(b" " * 10_000_000), headers={"Content-Encoding": "gzip"})
    with in_query(server) as api, pytest.raises(ApiError, match="answered with more than 1000000 bytes"):
        api.get("/", {}, max_bytes=1_000_000)
    assert len(server.requests) == 1


def test_a_stream_gives_the_very_bytes_in_bounded_chunks(server: Server) -> None:
    body = bytes(range(256)) * 12_000
    server.answer = lambda _: Answer(body=body)
    with client(server) as api, api.stream("/file", {}) as chunks:
        got = list(chunks)
    assert b"".join(got) == body
    assert max(map(len, got)) <= 1 << 20


@pytest.mark.parametrize(
    "broken",
    [
        Answer(body=b"x" * 5_000_000, cut=2_000_000),
        Answer(body=b"y" * 1000, chunked=True, cut=1),
        Answer(body=gzip.compress(bytes(1000))[:-9], headers={"Content-Encoding": "gzip"}, cut=5),
    ],
    ids=["length", "chunked", "gzip"],
)
def test_a_cut_body_is_fetched_again_and_nothing_of_it_is_handed_out(server: Server, broken: Answer) -> None:
    with client(server) as api:
        server.answer = then(broken, Answer(body=b"whole"))
        with api.stream("/file", {}) as chunks:
            assert list(chunks) == [b"whole"]
        server.answer = then(broken, Answer(body=b"whole"))
        assert api.get("/file", {}) == b"whole"
        server.answer = then(broken)
        with pytest.raises(ApiDown), api.stream("/file", {}):
            pytest.fail("a cut body was handed out")


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_an_api_that_is_down_for_a_while_is_asked_again(server: Server, status: int) -> None:
    server.answer = then(Answer(status), Answer(status), Answer(body=b"up"))
    with client(server) as api:
        assert api.get("/", {}) == b"up"
    assert len(server.requests) == 3


def test_an_api_that_is_down_for_good_is_named_with_its_last_fault_tries_and_time(server: Server) -> None:
    server.answer = lambda _: Answer(503, b'{"message": "out to lunch"}')
    with in_query(server) as api, pytest.raises(ApiDown) as error:
        api.get("/data", {"q": "Oslo"})
    assert str(error.value).startswith(
        f"connection 'weather': 127.0.0.1:{server.port} did not serve GET {server.url}/data?q=Oslo (tries: 3 over 0."
    )
    assert "the last: HTTP 503: out to lunch)" in str(error.value)


def test_a_refused_connection_is_the_fault_of_host_and_port() -> None:
    port = unused_port()
    with (
        client(f"http://127.0.0.1:{port}") as api,
        pytest.raises(ApiDown, match=rf"127\.0\.0\.1:{port} .*tries: 3 .*Connection refused"),
    ):
        api.get("/", {})


def test_a_silent_api_is_given_up_after_its_timeout(server: Server) -> None:
    def silent(_: Request) -> Answer:
        server.closing.wait(20)
        return Answer()

    server.answer = silent
    with (
        client(server, timeout_seconds=0.1, retries=1) as api,
        pytest.raises(ApiDown, match=r"tries: 2 .*[Tt]imed out"),
    ):
        api.get("/", {})


def test_a_status_that_says_no_is_not_asked_again(server: Server) -> None:
    server.answer = lambda _: Answer(404, b'{"cod":"404","message":"city not found"}')
    with in_query(server) as api, pytest.raises(StatusError) as error:
        api.get("/data", {"q": "Atlantis"})
    assert (error.value.status, error.value.body_excerpt) == (404, "city not found")
    assert str(error.value) == (
        f"connection 'weather': GET {server.url}/data?q=Atlantis answered HTTP 404: city not found"
    )
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("body", "excerpt"),
    [
        (b'{"title": "Unauthorized", "detail": "no token"}', "no token"),
        (b'{"errors": ["bad\\nthing"]}', '{"errors": ["bad\\nthing"]}'),
        (b"<Error>\n  <Code>AccessDenied</Code>\n</Error>", "<Error> <Code>AccessDenied</Code> </Error>"),
        (b"x" * 300, "x" * 200 + "…"),
        (b"", ""),
        (b"\xff{", "\ufffd{"),
        (b"[" * 100_000, "[" * 200 + "…"),
    ],
)
def test_the_excerpt_of_a_body_is_what_it_says_in_one_line(server: Server, body: bytes, excerpt: str) -> None:
    server.answer = lambda _: Answer(400, body)
    with client(server) as api, pytest.raises(StatusError) as error:
        api.get("/", {})
    assert error.value.body_excerpt == excerpt


def test_a_wrong_key_names_the_connection_and_the_remedy(server: Server) -> None:
    server.answer = lambda _: Answer(401, b'{"cod":401, "message": "Invalid API key. See the FAQ."}')
    with in_query(server) as api, pytest.raises(KeyRefused) as error:
        api.get("/", {})
    assert str(error.value) == (
        "connection 'weather': the API refused its key (HTTP 401: Invalid API key. See the FAQ.). "
        "Put the right key into the connection's password"
    )
    assert len(server.requests) == 1


def test_a_missing_key_is_called_missing(server: Server) -> None:
    server.answer = lambda _: Answer(401)
    with client(server) as api, pytest.raises(KeyRefused, match="wants a key, and the connection has none"):
        api.get("/", {})


def test_a_403_is_about_the_key_only_where_the_source_says_so(server: Server) -> None:
    server.answer = lambda _: Answer(403)
    with client(server) as api, pytest.raises(StatusError) as error:
        api.get("/", {})
    assert not isinstance(error.value, KeyRefused)
    with client(server, key_refused_statuses=(401, 403)) as api, pytest.raises(KeyRefused):
        api.get("/", {})


def echo(request: Request) -> Answer:
    """An API that quotes all it was sent, as careless ones do."""
    return Answer(400, f"you sent {request.query} {request.headers} {KEY}".encode())


def faults(server: Server) -> Iterator[tuple[str, Callable[[Request], Answer]]]:
    yield server.url, lambda _: Answer(503, KEY.encode())
    yield server.url, lambda _: Answer(401, f'{{"message": "no such key: {KEY}"}}'.encode())
    yield server.url, lambda _: Answer(400, b"y" * (200 - len("you ")) + KEY.encode())
    yield server.url, echo
    yield server.url, lambda _: Answer(cut=1)
    yield server.url, lambda _: Answer(302, headers={"Location": f"http://foreign.example/?appid={KEY}"})
    yield (
        server.url,
        lambda request: Answer(302, headers={"Location": f"{server.url}{request.path}?appid=s3cret%2F%2B%C3%BC+key"}),
    )
    yield f"http://127.0.0.1:{unused_port()}", lambda _: Answer()
    yield server.url, lambda _: Answer(302, headers={"Location": f"http://{KEY}.example:99999/"})
    yield server.url, lambda _: Answer(302, headers={"Location": f"gopher://127.0.0.1/{KEY}"})


@pytest.mark.parametrize("place", [in_query, in_header])
def test_the_key_shows_in_no_error_no_log_line_and_no_repr(
    server: Server, caplog: pytest.LogCaptureFixture, place: Callable[..., ApiClient]
) -> None:
    caplog.set_level(logging.DEBUG)
    seen = []
    for url, answer in faults(server):
        server.answer = answer
        with place(url, timeout_seconds=1.0) as api, pytest.raises(ApiError) as error:
            api.get("/data", {"q": "Oslo"})
        seen += [
            "".join(traceback.format_exception(error.value)),
            repr(error.value),
            repr(api),
            repr(vars(error.value)),
        ]
        inner = error.value.__cause__ or error.value.__context__
        while inner is not None:
            seen.append(repr(inner))
            inner = inner.__cause__ or inner.__context__
        seen.append(api.url("/data", {"q": KEY}))
    assert any("urllib3" in record.name for record in caplog.records)
    for text in (*seen, caplog.text):
        for form in ("s3cret", KEY):
            assert form not in text


@pytest.mark.parametrize("key", ["s3cret\n", " s3cret", "s3\\cret", "s3cret\r\nX-Evil: 1"])
def test_a_key_that_no_header_can_hold_shows_in_no_error(server: Server, key: str) -> None:
    server.answer = echo
    with client(server, key=key, key_in="header", key_name="x-api-key") as api, pytest.raises(ApiError) as error:
        api.get("/", {})
    for form in (key, repr(key)[1:-1], key.strip()):
        assert form not in str(error.value)


@given(st.text(min_size=4).filter(lambda key: key.isprintable() and not key.isspace()))
def test_whatever_the_key_its_written_forms_are_hidden(key: str) -> None:
    api = ApiClient(Api("weather", "http://127.0.0.1:1", key=key, key_in="query", key_name="appid"))
    request = requests.Request("GET", "http://h/", params={"appid": key}).prepare()
    assert api._hide(request.url or "").endswith("=***")
    assert key not in api._hide(f"[{key}]").replace("***", "")


def test_a_redirect_to_the_same_host_is_followed_with_the_key(server: Server) -> None:
    server.answer = lambda request: (
        Answer(302, headers={"Location": "/new?q=1"}) if request.path == "/old" else Answer(body=b"new")
    )
    with in_header(server) as api:
        assert api.get("/old", {}) == b"new"
    assert "x-api-key" in server.requests[1].headers


def test_a_redirect_to_a_foreign_host_is_refused_and_nothing_is_sent_there(
    server: Server, other_server: Server
) -> None:
    server.answer = lambda _: Answer(302, headers={"Location": f"{other_server.url}/steal"})
    for api in (in_query(server), in_header(server)):
        with (
            api,
            pytest.raises(ApiError, match=rf"leads on to '127\.0\.0\.1:{other_server.port}', which is no allowed"),
        ):
            api.get("/", {})
    assert other_server.requests == []
    assert len(server.requests) == 2


def test_an_allowed_host_gets_the_request_but_not_the_key(server: Server, other_server: Server) -> None:
    server.answer = lambda _: Answer(302, headers={"Location": f"{other_server.url}/file"})
    other_server.answer = lambda _: Answer(body=b"file")
    allowed = (f"127.0.0.1:{other_server.port}",)
    for api in (in_query(server, allowed_hosts=allowed), in_header(server, allowed_hosts=allowed)):
        with api:
            assert api.get("/", {}) == b"file"
            assert api.get(f"{other_server.url}/file", {}) == b"file"
    assert len(other_server.requests) == 4
    assert all(request.query == {} and "x-api-key" not in request.headers for request in other_server.requests)


def test_an_absolute_url_on_a_foreign_host_is_refused(server: Server, other_server: Server) -> None:
    with in_query(server) as api, pytest.raises(ApiError, match="which is no allowed host"):
        api.get(f"{other_server.url}/x", {})
    assert other_server.requests == []


def test_a_link_to_the_next_page_may_be_absolute(server: Server) -> None:
    with in_query(server) as api:
        api.get(f"{server.url}/page?cursor=2", {})
    assert server.requests[0].query == {"cursor": ["2"], "appid": [KEY]}


def test_a_redirect_out_of_tls_is_refused() -> None:
    with pytest.raises(ApiError, match="from https to plain http"):
        in_query("https://api.example")._check("http://api.example/x")


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999", "gopher://127.0.0.1", "https://", "127.0.0.1:80"])
def test_a_base_url_that_is_none_names_the_connection(url: str) -> None:
    with pytest.raises(ApiError, match=rf"connection 'weather': '{url}' is no base URL .* correct the connection's"):
        in_query(url)


def test_endless_redirects_end(server: Server) -> None:
    server.answer = lambda _: Answer(302, headers={"Location": "/again"})
    with client(server) as api, pytest.raises(ApiError, match="TooManyRedirects"):
        api.get("/", {})
    assert len(server.requests) == 6


def test_neither_cookies_nor_passwords_from_files_are_sent(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password pass\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    server.answer = lambda _: Answer(headers={"Set-Cookie": "a=b"})
    with client(server) as api:
        api.get("/", {})
        api.get("/", {})
    assert all(
        "Cookie" not in request.headers and "Authorization" not in request.headers for request in server.requests
    )


def test_retry_after_is_honoured_in_seconds_and_as_a_date_but_not_beyond_the_longest_wait(server: Server) -> None:
    api = ApiClient(Api("weather", server.url, retries=1), first_wait_seconds=0.01, longest_wait_seconds=1.5)
    soon = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    for said, at_least, at_most in (("1", 1.0, 1.4), ("3600", 1.5, 1.9), (soon, 1.5, 1.9), ("nonsense", 0.0, 0.9)):
        server.requests.clear()
        server.answer = then(Answer(429, headers={"Retry-After": said}), Answer())
        with api:
            api.get("/", {})
        waited = server.requests[1].at - server.requests[0].at
        assert at_least <= waited <= at_most, said


def test_threads_share_the_budget_of_their_client(server: Server) -> None:
    with client(server, minute_seconds=1.5, calls_per_minute=5) as api, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: api.get("/", {"n": number}), range(12)))
    times = sorted(request.at for request in server.requests)
    assert len(times) == 12
    # Any six calls in a row take more than a window (less what the way to the server may vary).
    assert all(later - earlier > 1.4 for earlier, later in zip(times, times[5:], strict=False))
    assert times[4] - times[0] < 1.4
    assert times[-1] - times[0] < 5.5


def test_tries_count_against_the_budget_too(server: Server) -> None:
    server.answer = then(Answer(500), Answer(500), Answer())
    with client(server, minute_seconds=0.6, calls_per_minute=2) as api:
        api.get("/", {})
    assert server.requests[2].at - server.requests[0].at > 0.55


def test_many_threads_get_each_their_own_answer(server: Server) -> None:
    server.answer = lambda request: Answer(body=request.query["n"][0].encode())
    with client(server) as api, ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda number: api.get("/", {"n": number}), range(100)))
    assert answers == [str(number).encode() for number in range(100)]


def test_as_many_connections_stay_open_as_a_source_may_ask_at_once(server: Server) -> None:
    """Else each further one would begin with a handshake of its own, at every call."""
    at_once = 32
    together = threading.Barrier(at_once)

    def answer(_: Request) -> Answer:
        together.wait(timeout=10)
        return Answer()

    server.answer = answer
    with client(server, retries=0) as api, ThreadPoolExecutor(at_once) as pool:
        for _ in range(2):
            list(pool.map(lambda number: api.get("/", {"n": number}), range(at_once)))
    assert len({request.port for request in server.requests}) == at_once


@pytest.mark.parametrize(
    ("schema", "host", "port", "url"),
    [
        (None, "api.example", None, "https://api.example"),
        (None, "127.0.0.1", 8081, "http://127.0.0.1:8081"),
        ("http", "api.example", None, "http://api.example"),
        ("", "api.example", 443, "https://api.example:443"),
        ("https", "api.example", 8443, "https://api.example:8443"),
        (None, "https://api.example/v2/", None, "https://api.example/v2"),
        (None, "http://api.example/v2", 8080, "http://api.example:8080/v2"),
    ],
)
def test_a_connection_means_a_base_url(schema: str | None, host: str, port: int | None, url: str) -> None:
    assert base_url_of(schema, host, port) == url


def patient(server: Server) -> ApiClient:
    """A client whose waits are too long to be taken for a slow machine."""
    return ApiClient(Api(connection="x", base_url=server.url, retries=1), longest_wait_seconds=3)


@pytest.mark.parametrize("spelling", ["x-rate-limit", "X-RateLimit", "RateLimit"])
def test_nothing_is_asked_while_the_api_says_that_no_calls_remain(server: Server, spelling: str) -> None:
    spent = {f"{spelling}-Remaining": "0", f"{spelling}-Reset": "30"}
    server.answer = then(Answer(headers=spent), Answer())
    with patient(server) as api:
        api.get("/a", {})
        api.get("/b", {})
        api.get("/c", {})
    first, second, third = (request.at for request in server.requests)
    assert second - first >= 2.9
    assert third - second < 2.9


def test_calls_that_remain_are_not_waited_for(server: Server) -> None:
    server.answer = lambda _: Answer(headers={"x-rate-limit-remaining": "1", "x-rate-limit-reset": "30"})
    with patient(server) as api:
        api.get("/a", {})
        api.get("/b", {})
    assert server.requests[1].at - server.requests[0].at < 2.9


def test_a_429_without_retry_after_is_tried_again_at_the_reset(server: Server) -> None:
    at = int(datetime.now(UTC).timestamp()) + 2
    server.answer = then(Answer(status=429, headers={"x-rate-limit-reset": str(at)}), Answer())
    with ApiClient(Api(connection="x", base_url=server.url, retries=1, longest_wait_seconds=5)) as api:
        api.get("/a", {})
    assert len(server.requests) == 2
    assert 0.9 <= server.requests[1].at - server.requests[0].at <= 3


def test_a_key_may_have_a_prefix(server: Server) -> None:
    with in_header(server, key_prefix="Bearer ") as api:
        api.get("/a", {})
    assert server.requests[0].headers["x-api-key"].encode("latin-1").decode() == f"Bearer {KEY}"


def test_a_stream_longer_than_allowed_is_refused(server: Server) -> None:
    server.answer = lambda _: Answer(body=b"x" * 3_000_000, chunked=True)
    with (
        client(server, max_bytes=1_000_000) as api,
        pytest.raises(ApiError, match="answered with more than 1000000 bytes: nothing was landed; raise max_megabytes"),
        api.stream("/a", {}),
    ):
        pass
    assert len(server.requests) == 1
