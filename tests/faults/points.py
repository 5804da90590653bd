"""Where tasks are killed: the points of a run, and what each is for a source."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tests.faults.proxy import Where

CITIES = ("Berlin", "Lima", "Nairobi", "Oslo", "Paris", "Tokyo")
COLLECTIONS = ("friendsies", "cryptodevamigos", "harbour-lights")
USERNAMES = ("harbour_news", "open_rivers", "sluice_data")
MONTH, DATE = "2024-03", "2026-11-20"
"""the partitions that the runs are about"""

POINTS = {
    "mid-page": "the API's answer stalls in its middle",
    "before a part's upload": "the part has not reached S3",
    "after a part's upload": "S3 holds the part, and the task does not know",
    "before the manifest": "all parts are there, and no manifest",
    "after the manifest": "the landing is real, and not booked",
    "mid-COPY": "some rows are on their way into raw",
    "between COPY and bookkeeping": "all rows are copied, and not booked",
    "before the load's commit": "rows and bookkeeping are done, and not committed",
    "after the load's commit": "they are committed, and the task does not know",
    "mid-dbt": "a mart is written, and not committed",
    "mid-publish": "one mart is in analytics, the next is not, nothing is committed",
    "after the publish's commit": "readers have it, and the task does not know",
}
"""Point -> what the kill leaves behind"""

SMALL = {"openweather", "x"}
"""the sources whose runs are also made without a kill, to compare what readers see"""

SERVERS = (
    "Postgres is stopped during a load",
    "Postgres is killed during a load",
    "Postgres is stopped during a publish",
    "Postgres is killed during a publish",
    "S3 is killed during an upload",
    "the scheduler is killed during a run",
    "the scheduler dies of a fault of its own",
    "the disk of the state folder is full",
)
"""Faults of servers"""


@dataclass(frozen=True)
class Subject:
    """What the points are for one source.

    Attributes:
        source: Its name.
        entity: The entity whose tasks are killed.
        page: Pattern of the request whose answer stalls.
        mart: The dbt model that is killed while it is written.
        first: A published model, and
        second: one that is published after it.
        conf: Parameters of the run.
    """

    source: str
    entity: str
    page: bytes
    mart: str
    first: str
    second: str
    conf: Mapping[str, object] = field(default_factory=dict)


SUBJECTS = (
    Subject(
        "tlc",
        "green_trips",
        rb"GET /trip-data/green_",
        "fact_taxi_trip",
        "fact_taxi_trip",
        "taxi_daily",
        {"services": ["green"], "date": f"{MONTH}-01"},
    ),
    Subject(
        "openweather",
        "observations",
        rb"GET /data/2\.5/weather\S*[?&]q=Oslo",
        "fact_weather_observation",
        "dim_city",
        "fact_weather_observation",
        {"cities": CITIES, "date": DATE},
    ),
    Subject(
        "driven",
        "sessions",
        rb"GET /driven/v1/sessions\S*[?&]page=2",
        "fact_network_usage",
        "dim_person",
        "payment_data",
        {"date": DATE},
    ),
    Subject(
        "opensea",
        "nfts",
        rb"GET /api/v2/collection/\S*[?&]next=",
        "fact_nft_snapshot",
        "dim_nft",
        "fact_nft_snapshot",
        {"date": DATE},
    ),
    Subject(
        "x", "posts", rb"GET /2/users/\S*pagination_token=", "fact_post", "dim_account", "fact_post", {"date": DATE}
    ),
)


@dataclass(frozen=True)
class At:
    """A point of one source.

    Attributes:
        task: The task that comes there.
        through: Whose proxy sees it.
        where: What it sees.
    """

    task: str
    through: Literal["api", "s3", "postgres"]
    where: Where


def point(name: str, of: Subject) -> At:
    """What a point is for a source."""
    fetch, load = f"landing.fetch_{of.entity}", f"raw.load_{of.entity}"
    folder = rb"PUT /\S*landing/%b/%b/\S*" % (of.source.encode(), of.entity.encode())
    part, manifest = folder + rb"/part-00001\.", folder + rb"/_manifest\.json"
    table = f"{of.source}__{of.entity}".encode()
    copy = rb"(?i)copy .{1,2000}from stdin"
    # the load says whose it is with its lock; a message begins with its length, which may look like a letter
    loading = (table, copy)
    booking = rb"(?i)update ops\.landing set loaded_at"
    commit = rb"(?i)commit"
    written = rb'"model\.sluice\.%b"\} \*/.{0,2000}?(?i:insert into|create\s+table)' % of.mart.encode()
    publishing = (rb'"%b"' % of.first.encode(), rb'insert into (?:analytics|personal)\."?%b' % of.second.encode())
    match name:
        case "mid-page":
            return At(fetch, "api", Where([of.page], "rest", after=100))
        case "before a part's upload":
            return At(fetch, "s3", Where([part], "request"))
        case "after a part's upload":
            return At(fetch, "s3", Where([part], "answer"))
        case "before the manifest":
            return At(fetch, "s3", Where([manifest], "request"))
        case "after the manifest":
            return At(fetch, "s3", Where([manifest], "answer"))
        case "mid-COPY":
            return At(load, "postgres", Where(loading, "request", after=1_000))
        case "between COPY and bookkeeping":
            return At(load, "postgres", Where([*loading, booking], "request"))
        case "before the load's commit":
            return At(load, "postgres", Where([*loading, booking, commit], "request"))
        case "after the load's commit":
            return At(load, "postgres", Where([*loading, booking, commit], "answer"))
        case "mid-dbt":
            return At(f"marts.{of.mart}", "postgres", Where([written], "answer"))
        case "mid-publish":
            return At("publish", "postgres", Where(publishing, "answer"))
        case "after the publish's commit":
            return At("publish", "postgres", Where([*publishing, rb"ops\.publication", commit], "answer"))
    raise ValueError(f"{name!r} is no point: one of {', '.join(POINTS)}")
