"""A landing is written whole or never happened; it is read as a stream and never changes."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from include.landing import LandingError, LandingStore, LandingWriter, Manifest
from include.landing import store as store_module
from tests.landing.conftest import Land, pieces

MEGABYTE = 1024 * 1024


class GaveUpError(Exception):
    """What a test's extraction dies of."""


def begin(store: LandingStore, format: Literal["json", "csv", "parquet"] = "json", run_id: str = "manual__1") -> Any:  # noqa: ANN401 - a context manager
    return store.begin(source="weather", entity="observations", partition="2026-11-21T13", run_id=run_id, format=format)


def keys(store: LandingStore) -> list[str]:
    pages = store.client.get_paginator("list_objects_v2").paginate(Bucket=store.bucket)
    return [entry["Key"] for page in pages for entry in page.get("Contents", [])]


def uploads(store: LandingStore) -> list[str]:
    return [entry["Key"] for entry in store.client.list_multipart_uploads(Bucket=store.bucket).get("Uploads", [])]


def test_a_committed_landing_is_its_parts_and_its_manifest_under_a_readable_key(store: LandingStore) -> None:
    with begin(store, run_id="scheduled__2026-11-21T13:05:00+00:00") as writer:
        writer.add_document(b'{"id": 1}')
        manifest = writer.commit({"method": "GET"})
    folder = "landing/weather/observations/dt=2026-11-21T13/run=scheduled__2026-11-21T13-05-00-00-00/"
    assert keys(store) == [f"{folder}_manifest.json", f"{folder}part-00001.ndjson.zst"]
    assert manifest.uri == f"s3://{store.bucket}/{folder}"


def test_a_manifest_tells_what_was_asked_what_came_and_what_was_refused(store: LandingStore) -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    with begin(store) as writer:
        writer.add_document(b'{"id": 1}')
        writer.refuse({"q": "Atlantis"}, 404, "city not found")
        writer.add_document(b'{"id": 2}')
        manifest = writer.commit({"method": "GET", "params": {"cities": ["Oslo", "Atlantis", "Lima"]}})
    assert manifest.records == 2
    assert manifest.request == {"method": "GET", "params": {"cities": ["Oslo", "Atlantis", "Lima"]}}
    assert [refusal.model_dump() for refusal in manifest.refused] == [
        {"params": {"q": "Atlantis"}, "status": 404, "message": "city not found"}
    ]
    assert before <= manifest.fetched_at <= datetime.now(UTC)
    assert manifest.landing_id == round(manifest.fetched_at.timestamp() * 1_000_000)
    assert manifest.bytes == manifest.parts[0].bytes
    with pytest.raises(ValidationError):
        manifest.records = 3


def test_a_manifest_reads_back_as_it_was_written(store: LandingStore, land: Land) -> None:
    manifest = land("csv", "a\n1\n")
    assert store.read(manifest.uri) == manifest
    assert store.read(manifest.uri.rstrip("/")) == manifest


def test_reading_what_never_happened_says_so(store: LandingStore) -> None:
    with pytest.raises(LandingError, match=r"run=x/_manifest\.json: there is no such manifest, so .* never happened"):
        store.read(f"s3://{store.bucket}/landing/weather/observations/dt=all/run=x/")


@pytest.mark.parametrize("uri", ["s3://other/landing/a/", "file:///landing/a/", "s3://{bucket}/elsewhere/"])
def test_reading_outside_of_the_landings_is_refused(store: LandingStore, uri: str) -> None:
    with pytest.raises(ValueError, match="is not a landing of this bucket"):
        store.read(uri.format(bucket=store.bucket))


def test_a_landing_that_dies_leaves_nothing_behind(store: LandingStore) -> None:
    def broken() -> Iterator[bytes]:
        yield b"x" * (17 * MEGABYTE)  # two pieces are with S3 already
        raise GaveUpError

    def fetch() -> None:
        with begin(store, "parquet") as writer:
            writer.add_file([b"whole"], "parquet")
            writer.add_file(broken(), "parquet")

    with pytest.raises(GaveUpError):
        fetch()
    assert keys(store) == []
    assert uploads(store) == []


def test_leaving_without_a_commit_leaves_nothing_behind(store: LandingStore) -> None:
    with begin(store) as writer:
        writer.add_document(b"{}")
        writer.seal()
    assert keys(store) == []
    assert list(store.landings("weather", "observations", "2026-11-21T13")) == []


def test_dying_after_the_commit_keeps_the_landing(store: LandingStore) -> None:
    made: list[Manifest] = []

    def fetch() -> None:
        with begin(store) as writer:
            writer.add_document(b"{}")
            made.append(writer.commit({}))
            raise GaveUpError

    with pytest.raises(GaveUpError):
        fetch()
    assert list(store.iter_documents(store.read(made[0].uri))) == [b"{}"]


def test_a_fault_while_giving_up_does_not_hide_why_it_was_given_up(store: LandingStore) -> None:
    def fetch() -> None:
        with begin(store):
            store.client.delete_object(Bucket=store.bucket, Key=keys(store)[0])
            store.client.delete_bucket(Bucket=store.bucket)
            raise GaveUpError

    with pytest.raises(GaveUpError):
        fetch()


def test_a_second_try_of_a_run_writes_a_folder_of_its_own(store: LandingStore) -> None:
    made: list[Manifest] = []
    for body in (b'{"try": 1}', b'{"try": 2}', b'{"try": 3}'):
        with begin(store) as writer:
            writer.add_document(body)
            made.append(writer.commit({}))
    assert [manifest.uri.rsplit("/", 2)[1] for manifest in made] == [
        "run=manual__1",
        "run=manual__1.2",
        "run=manual__1.3",
    ]
    assert [list(store.iter_documents(manifest)) for manifest in made] == [
        [b'{"try": 1}'], [b'{"try": 2}'], [b'{"try": 3}']
    ]  # fmt: skip


@pytest.mark.parametrize("retry_is_done", [True, False], ids=["done", "begun"])
def test_a_try_that_a_later_one_has_taken_over_from_lands_nothing(store: LandingStore, retry_is_done: bool) -> None:
    with begin(store) as zombie:
        zombie.add_document(b'{"by": "zombie"}')
        with begin(store) as retry:
            retry.add_document(b'{"by": "retry"}')
            if retry_is_done:
                retry.commit({})
            with pytest.raises(
                LandingError, match=r"run=manual__1/: a later try .* taken over at .*/run=manual__1\.2/"
            ):
                zombie.commit({})
            if not retry_is_done:
                retry.commit({})
    (landed,) = store.landings("weather", "observations")
    assert list(store.iter_documents(landed)) == [b'{"by": "retry"}']


def test_a_run_whose_name_begins_like_another_has_nothing_to_do_with_it(store: LandingStore) -> None:
    with begin(store, run_id="v1") as writer, begin(store, run_id="v1.2") as other:
        writer.add_document(b"{}")
        other.add_document(b"{}")
        assert [writer.commit({}).run_id, other.commit({}).run_id] == ["v1", "v1.2"]


@pytest.mark.parametrize("retry_lands", [True, False], ids=["lands", "gives up"])
def test_a_later_try_that_ends_while_it_is_looked_at_is_judged_by_what_it_left(
    store: LandingStore, retry_lands: bool
) -> None:
    with ExitStack() as retries, begin(store) as first:
        first.add_document(b'{"by": "first"}')
        retry = retries.enter_context(begin(store))
        retry.add_document(b'{"by": "retry"}')
        met: list[str] = []

        def end_the_retry(params: Mapping[str, Any], **_: object) -> None:
            if params["Key"].endswith("run=manual__1.2/_started") and not met:
                met.append("asked for a claim that is in the listing")
                if retry_lands:
                    retry.commit({})
                retries.close()

        store.client.meta.events.register("provide-client-params.s3.GetObject", end_the_retry)
        try:
            if retry_lands:
                with pytest.raises(LandingError, match="a later try of the run has taken over"):
                    first.commit({})
            else:
                first.commit({})
        finally:
            store.client.meta.events.unregister("provide-client-params.s3.GetObject", end_the_retry)
    assert met
    (landed,) = store.landings("weather", "observations")
    assert list(store.iter_documents(landed)) == [b'{"by": "retry"}' if retry_lands else b'{"by": "first"}']


def test_of_tries_at_the_same_moment_each_has_a_folder_and_the_last_one_lands(store: LandingStore) -> None:
    def one(number: int) -> str | None:
        with begin(store) as writer:
            writer.add_document(b'{"n": %d}' % number)
            try:
                uri: str = writer.commit({}).uri
            except LandingError:
                return None
            return uri

    with ThreadPoolExecutor(8) as pool:
        made = [uri for uri in pool.map(one, range(8)) if uri]
    assert len(set(made)) == len(made) > 0
    assert len(list(store.landings("weather", "observations"))) == 1


NO_GRACE, A_DAY = timedelta(seconds=-2), timedelta(hours=24)  # S3 tells times in whole seconds


def kill(writer: LandingWriter) -> None:
    """Leave what the writer has written as if its process was gone."""
    writer.abort = lambda: None  # type: ignore[method-assign]


def test_what_killed_landings_have_left_is_swept_after_the_grace_time(store: LandingStore) -> None:
    committed = landed(store, "2024-01", "manual__1")
    with begin(store, "csv") as killed:
        kill(killed)
        killed.add_file([b"a,b\n", b"1,2\n"], "csv")
    with begin(store, "csv", run_id="manual__2") as uploading:
        kill(uploading)

        def chunks() -> Iterator[bytes]:
            yield bytes(20 * MEGABYTE)
            raise GaveUpError

        with pytest.raises(GaveUpError):
            uploading.add_file(chunks(), "csv")
    store.client.put_object(Bucket=store.bucket, Key="drop/tests/things.csv", Body=b"a")
    left = keys(store)
    assert len(left) == 1 + 2 + 2 + 1
    assert len(uploads(store)) == 1

    assert store.sweep(A_DAY) == store_module.Swept((), 0, 0)
    assert (keys(store), len(uploads(store))) == (left, 1)

    swept = store.sweep(NO_GRACE)
    folders = [f"s3://{store.bucket}/landing/weather/observations/dt=2026-11-21T13/run=manual__{n}/" for n in (1, 2)]
    assert swept == store_module.Swept(tuple(folders), 3, 1)
    assert uploads(store) == []
    assert sorted(keys(store)) == ["drop/tests/things.csv", *sorted(key for key in left if "dt=2024-01" in key)]
    assert list(store.landings("tests", "things")) == [committed]


def test_a_writer_whose_landing_was_swept_commits_nothing(store: LandingStore) -> None:
    with begin(store) as writer:
        writer.add_document(b"{}")
        store.sweep(NO_GRACE)
        with pytest.raises(LandingError, match="it was swept while it was written"):
            writer.commit({})
    assert keys(store) == []


def test_a_sweep_between_the_last_look_and_the_manifest_leaves_no_landing_without_parts(store: LandingStore) -> None:
    def sweep_first(params: dict[str, Any], **_: object) -> None:
        if params["Key"].endswith("_manifest.json"):
            store.client.meta.events.unregister("provide-client-params.s3.PutObject", sweep_first)
            store.sweep(NO_GRACE)

    with begin(store) as writer:
        writer.add_document(b"{}")
        store.client.meta.events.register("provide-client-params.s3.PutObject", sweep_first)
        with pytest.raises(LandingError, match="it was swept while it was written"):
            writer.commit({})
    assert keys(store) == []


def test_what_was_committed_while_it_was_to_be_swept_stays(store: LandingStore) -> None:
    with begin(store) as writer:
        writer.add_document(b"{}")
        writer.seal()
        made: list[Manifest] = []

        def commit_first(params: dict[str, Any], **_: object) -> None:
            if params["Key"].endswith("_started"):
                store.client.meta.events.unregister("provide-client-params.s3.DeleteObject", commit_first)
                made.append(writer.commit({}))

        store.client.meta.events.register("provide-client-params.s3.DeleteObject", commit_first)
        assert store.sweep(NO_GRACE) == store_module.Swept((), 0, 0)
    assert list(store.landings("weather", "observations")) == made
    assert list(store.iter_documents(made[0])) == [b"{}"]


def test_a_manifest_that_exists_is_never_overwritten(store: LandingStore) -> None:
    with begin(store) as writer:
        key = keys(store)[0].replace("_started", "_manifest.json")
        store.client.put_object(Bucket=store.bucket, Key=key, Body=b"another's")
        writer.add_document(b"{}")
        with pytest.raises(LandingError, match=r"_manifest\.json exists, and a landing is never overwritten"):
            writer.commit({})
    assert keys(store) == [key]
    assert store.client.get_object(Bucket=store.bucket, Key=key)["Body"].read() == b"another's"


def test_a_commit_whose_answer_got_lost_is_a_commit(store: LandingStore) -> None:
    def send_twice(params: dict[str, Any], **_: object) -> None:
        """What boto3 does when the connection breaks after S3 has taken the request."""
        if params["Key"].endswith("_manifest.json"):
            store.client.meta.events.unregister("provide-client-params.s3.PutObject", send_twice)
            store.client.put_object(**params)

    with begin(store) as writer:
        writer.add_document(b"{}")
        store.client.meta.events.register("provide-client-params.s3.PutObject", send_twice)
        manifest = writer.commit({})
    assert store.read(manifest.uri) == manifest
    assert list(store.iter_documents(manifest)) == [b"{}"]


def test_nothing_can_be_added_once_a_landing_is_sealed(store: LandingStore) -> None:
    with begin(store) as writer:
        writer.add_document(b"{}")
        sealed = writer.seal()
        with pytest.raises(LandingError, match="is sealed"):
            writer.add_document(b"{}")
        assert writer.commit({}).sha256 == sealed
        with pytest.raises(LandingError, match="is committed already"):
            writer.commit({})


def test_equal_content_has_an_equal_hash_whenever_and_however_it_came(store: LandingStore) -> None:
    def landed(chunks: list[bytes]) -> Manifest:
        with begin(store, "csv") as writer:
            writer.add_file(chunks, "csv")
            manifest: Manifest = writer.commit({})
            return manifest

    one, other, different = landed([b"a,b\n", b"1,2\n"]), landed([b"a,b\n1,2\n"]), landed([b"a,b\n1,3\n"])
    assert one.sha256 == other.sha256 != different.sha256
    assert one.landing_id != other.landing_id
    assert one.parts[0].sha256 == hashlib.sha256(b"a,b\n1,2\n").hexdigest()


def test_the_hash_of_documents_is_of_what_they_say_not_of_how_they_were_compressed(land: Land) -> None:
    manifest = land("json", '{"id": 1}', '{"id": 2}')
    assert manifest.parts[0].sha256 == hashlib.sha256(b'{"id": 1}\n{"id": 2}\n').hexdigest()


def landed(store: LandingStore, partition: str, run_id: str, follows: tuple[int, ...] = ()) -> Manifest:
    with store.begin(source="tests", entity="things", partition=partition, run_id=run_id, format="json") as writer:
        writer.add_document(b"{}")
        manifest: Manifest = writer.commit({}, follows=follows)
        return manifest


def test_landings_are_those_with_a_manifest_oldest_first(store: LandingStore) -> None:
    later_month = landed(store, "2024-02", "manual__1")
    older_month = landed(store, "2024-01", "manual__2")
    again = landed(store, "2024-01", "manual__3")
    with begin(store) as given_up:
        given_up.add_document(b"{}")
        store.client.put_object(
            Bucket=store.bucket, Key="landing/tests/things/dt=2024-01/run=killed/_started", Body=b"1"
        )
        assert list(store.landings("tests", "things")) == [later_month, older_month, again]
    assert list(store.landings("tests", "things", "2024-01")) == [older_month, again]
    assert list(store.landings("tests", "things", "2024-0")) == []
    assert list(store.landings("tests", "nothing")) == []


def test_of_a_runs_several_tries_the_last_counts_and_what_it_follows(store: LandingStore) -> None:
    landed(store, "2024-01", "v1")
    other_month, other_run = landed(store, "2024-02", "v1"), landed(store, "2024-01", "v1.2")
    second = landed(store, "2024-01", "v1")
    assert list(store.landings("tests", "things")) == [other_month, other_run, second]
    third = landed(store, "2024-01", "v1", follows=(second.landing_id,))
    assert list(store.landings("tests", "things")) == [other_month, other_run, second, third]


def test_a_writer_knows_whether_its_run_has_landed_the_partition_before(store: LandingStore) -> None:
    for is_retry in (False, True):
        with begin(store, run_id="manual__1 +00:00") as writer:
            assert writer.is_retry is is_retry
            writer.commit({})


def test_a_part_opens_as_a_seekable_file_of_the_very_bytes(store: LandingStore, land: Land, real_data: Path) -> None:
    path = real_data / "taxi" / "parquet" / "green_tripdata_2024-01.parquet"
    manifest = land("parquet", pieces(path))
    with store.open_part(manifest, manifest.parts[0]) as file:
        assert file.read() == path.read_bytes()
        file.seek(-4, 2)
        assert file.read() == b"PAR1"


def test_a_file_larger_than_one_upload_piece_comes_back_whole(store: LandingStore, land: Land) -> None:
    body = bytes(range(256)) * (20 * MEGABYTE // 256) + b"tail"
    manifest = land("parquet", [body[start : start + 300_001] for start in range(0, len(body), 300_001)])
    assert manifest.bytes == len(body)
    with store.open_part(manifest, manifest.parts[0]) as file:
        assert hashlib.sha256(file.read()).digest() == hashlib.sha256(body).digest()


@pytest.mark.parametrize("content", [b"a\n2\n", b""], ids=["changed", "emptied"])
def test_a_part_that_was_changed_after_landing_is_not_read(store: LandingStore, land: Land, content: bytes) -> None:
    manifest = land("csv", "a\n1\n")
    key = manifest.uri.removeprefix(f"s3://{store.bucket}/") + manifest.parts[0].name
    store.client.put_object(Bucket=store.bucket, Key=key, Body=content)
    with (
        pytest.raises(LandingError, match=r"part-00001\.csv: its content has sha256 .* was changed after landing"),
        store.open_part(manifest, manifest.parts[0]),
    ):
        pytest.fail("the changed part was handed out")


def test_a_large_part_is_read_while_it_arrives_and_is_checked_at_its_end(store: LandingStore, land: Land) -> None:
    body = bytes(range(256)) * (9 * MEGABYTE // 256) + b"tail"
    manifest = land("parquet", [body])
    with store.arriving_part(manifest, manifest.parts[0]) as file:
        assert not file.seek(0)
        assert file.read() == body
        file.seek(-4, 2)
        assert file.read() == b"tail"
    key = manifest.uri.removeprefix(f"s3://{store.bucket}/") + manifest.parts[0].name
    other = body[: 5 * MEGABYTE] + b"!" + body[5 * MEGABYTE + 1 :]
    handed_out: list[bytes] = []
    for content in (other, b"short"):
        store.client.put_object(Bucket=store.bucket, Key=key, Body=content)
        with (
            pytest.raises(LandingError, match=r"part-00001\.parquet: its content has sha256 .* was changed after"),
            store.arriving_part(manifest, manifest.parts[0]) as file,
        ):
            handed_out.append(file.read(5))
    assert handed_out == [other[:5]]  # the short one ends before so much of it is handed out
    store.client.delete_object(Bucket=store.bucket, Key=key)
    with pytest.raises(LandingError, match="it is gone"), store.arriving_part(manifest, manifest.parts[0]):
        pytest.fail("what is gone was handed out")


@pytest.mark.parametrize("cut", [slice(None, -5), slice(5, None)], ids=["end", "beginning"])
def test_damaged_documents_are_not_read_to_an_end(store: LandingStore, land: Land, cut: slice) -> None:
    manifest = land("json", *(f'{{"id": {number}}}' for number in range(1000)))
    key = manifest.uri.removeprefix(f"s3://{store.bucket}/") + manifest.parts[0].name
    whole = store.client.get_object(Bucket=store.bucket, Key=key)["Body"].read()
    store.client.put_object(Bucket=store.bucket, Key=key, Body=whole[cut])
    with pytest.raises(LandingError, match=r"part-00001\.ndjson\.zst: .* was changed after landing"):
        list(store.iter_documents(manifest))


def test_a_part_that_is_gone_is_named(store: LandingStore, land: Land) -> None:
    manifest = land("json", "{}")
    key = manifest.uri.removeprefix(f"s3://{store.bucket}/") + manifest.parts[0].name
    store.client.delete_object(Bucket=store.bucket, Key=key)
    with pytest.raises(LandingError, match=r"part-00001\.ndjson\.zst: its manifest names it, but it is gone"):
        list(store.iter_documents(manifest))


def test_documents_over_the_size_of_a_part_go_on_in_the_next(
    store: LandingStore, land: Land, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "_PART_CONTENT_BYTES", 100)
    bodies = [json.dumps({"id": number}) for number in range(25)]
    manifest = land("json", *bodies)
    assert [part.records for part in manifest.parts] == [10, 10, 5]
    assert manifest.records == 25
    assert [document.decode() for document in store.iter_documents(manifest)] == bodies
    assert [document.decode() for document in store.iter_documents(manifest, manifest.parts[1])] == bodies[10:20]


def test_real_payloads_come_back_as_they_were_served(store: LandingStore, land: Land, real_data: Path) -> None:
    bodies = [path.read_bytes() for path in sorted((real_data / "weather" / "raw").glob("*.json"))]
    assert len(bodies) == 6
    assert [json.loads(document) for document in store.iter_documents(land("json", *bodies))] == list(
        map(json.loads, bodies)
    )


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=200), max_size=30))
def test_whatever_is_added_comes_back_with_raw_newlines_as_tabs(
    land: Land, store: LandingStore, bodies: list[bytes]
) -> None:
    manifest = land("json", *bodies)
    expected = [body.replace(b"\n", b"\t").replace(b"\r", b"\t") for body in bodies]
    assert list(store.iter_documents(manifest)) == expected
    assert manifest.records == len(bodies)


@pytest.mark.parametrize(
    ("name", "value"), [("source", "a/b"), ("entity", ""), ("partition", "2024/01"), ("format", "xml")]
)
def test_names_that_cannot_be_keys_are_refused_before_anything_is_written(
    store: LandingStore, name: str, value: str
) -> None:
    names: dict[str, Any] = {"source": "s", "entity": "e", "partition": "all", "run_id": "r", "format": "json"}
    with pytest.raises(ValueError, match=name), store.begin(**names | {name: value}):
        pytest.fail("it began")
    assert keys(store) == []


def test_documents_and_files_do_not_mix(store: LandingStore) -> None:
    with begin(store) as writer, pytest.raises(ValueError, match="use add_document"):
        writer.add_file([b""], "csv")
    with begin(store, "csv") as writer:
        assert isinstance(writer, LandingWriter)
        with pytest.raises(ValueError, match="use add_file"):
            writer.add_document(b"{}")
        with pytest.raises(ValueError, match="extension"):
            writer.add_file([b""], "../csv")


def test_a_missing_bucket_is_named(store: LandingStore) -> None:
    with (
        pytest.raises(LandingError, match="s3://nowhere: there is no such bucket"),
        begin(LandingStore(store.client, "nowhere")),
    ):
        pytest.fail("it began")
