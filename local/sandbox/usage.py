"""Plausible broadband usage: subscribers made with Faker, and their sessions of each day.

Everything follows from fixed seeds, a subscriber's number and the day, so that a session keeps its id and its values
however often and whenever it is made. What is not plain:

- A day's sessions come out as one batch on the next day; one in 200 comes out one or two days after that (late rows).
- One subscriber in 12 moves: every `_STAY_DAYS` on a day of its own, so that within four months some move twice.
"""

import hashlib
import json
import tempfile
import uuid
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

SUBSCRIBERS = 3_000
SECONDS_A_DAY = 86_400
LATEST_DAYS = 2
"""Days that a late session comes out after its batch, at most."""

_SEED = 20_240_915
_NAMESPACE = uuid.UUID("5d1c8b0e-6f0a-4c52-9a35-0b8f1c7f2d41")
_LATE_EVERY = 200
_MOVERS_EVERY = 12
_STAY_DAYS = 45
_LEAST_SHARE_OF_A_DAY = 0.85
_EPOCH = date(1970, 1, 1).toordinal()

MEASURES = ("session_duration", "download_speed", "upload_speed", "consumed_traffic")
SESSION = np.dtype(
    [
        ("unique_id", "S36"),
        ("accessed_at", np.int64),
        ("subscriber", np.int32),
        ("home", np.int32),
        *((name, np.int32) for name in MEASURES),
        ("delay", np.int8),
    ]
)
"""One session.

- unique_id: ASCII.
- accessed_at: in seconds since 1970.
- subscriber: whose it is, by number.
- home: which of the subscriber's addresses it was used at; 0 is the first.
- delay: days after its batch on which it comes out; 0 but for late ones.
"""

Sessions = npt.NDArray[np.void]


def sessions_of(day: date, most: int) -> Sessions:
    """Make one day's sessions, in order.

    Args:
        day: The day on which they started, UTC.
        most: Most sessions of a day; the number of this one is a little less.
    """
    number = day.toordinal() - _EPOCH
    dice = np.random.default_rng([_SEED, number])
    size = int(dice.integers(int(most * _LEAST_SHARE_OF_A_DAY), most + 1))
    place = np.arange(size)
    made = np.empty(size, SESSION)
    made["unique_id"] = [str(uuid.uuid5(_NAMESPACE, f"{number}/{one}")) for one in range(size)]
    made["accessed_at"] = number * SECONDS_A_DAY + dice.integers(0, SECONDS_A_DAY, size)
    # Some subscribers use far more than others.
    made["subscriber"] = dice.random(size) ** 1.6 * SUBSCRIBERS
    made["home"] = _homes(made["subscriber"], number)
    made["session_duration"] = dice.random(size) ** 2 * 36_001
    made["download_speed"] = np.maximum(1_000 - dice.random(size) ** 2 * 1_001, 0)
    made["upload_speed"] = np.maximum(800 - dice.random(size) ** 1.5 * 801, 0)
    made["consumed_traffic"] = dice.random(size) ** 1.5 * 2_000_001
    made["delay"] = np.where(place % _LATE_EVERY == 7, 1 + place // _LATE_EVERY % LATEST_DAYS, 0)
    return in_order(made)


def in_order(sessions: Sessions) -> Sessions:
    """The sessions in the order of accessed_at and unique_id."""
    order: npt.NDArray[np.intp] = np.lexsort((sessions["unique_id"], sessions["accessed_at"]))
    return sessions[order]


def moves_of(subscriber: int, first: date, last: date) -> list[date]:
    """The days, from first to last, on which a subscriber moves: from that day's midnight on the address is new."""
    days = range(first.toordinal(), last.toordinal() + 1)
    homes = [int(_homes(np.array([subscriber]), day - _EPOCH)[0]) for day in (days.start - 1, *days)]
    return [
        date.fromordinal(day) for day, before, after in zip(days, homes, homes[1:], strict=False) if after != before
    ]


def _homes(subscriber: npt.NDArray[Any], day: int) -> npt.NDArray[Any]:
    """Which address is each subscriber's on a day, counted from 0 in 1970."""
    moves = (day + subscriber * 7 % _STAY_DAYS) // _STAY_DAYS
    return np.where(subscriber % _MOVERS_EVERY == _MOVERS_EVERY - 1, moves, 0)


# --- subscribers ------------------------------------------------------------------------------------------------------


class Subscribers:
    """Who the subscribers are: made with Faker, which takes a second, and kept on disk.

    Attributes:
        people: The columns of each subscriber but the address, in the order of the API.
        addresses: More than the subscribers have; `address_of` says whose is which.
    """

    def __init__(self, folder: Path) -> None:
        # The generator's own text is part of the key, so that a kept file never outlives a change of what makes it.
        version = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
        path = folder / f"subscribers-{version}.json"
        if not path.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=folder, suffix=".part", delete=False, encoding="utf-8") as part:
                json.dump(_make(), part, ensure_ascii=False)
            Path(part.name).replace(path)
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        self.people: Sequence[dict[str, str]] = found["people"]
        self.addresses: Sequence[str] = found["addresses"]

    def address_of(self, subscriber: int, home: int) -> str:
        """A subscriber's address, by the number of moves before."""
        return self.addresses[(subscriber + home * 1_009) % len(self.addresses)]


def _make() -> dict[str, Any]:
    from faker import Faker  # here, for it takes half a second and only the first start needs it

    fake = Faker("ro_RO")
    fake.seed_instance(_SEED)
    taken: set[str] = set()
    people = []
    for _ in range(SUBSCRIBERS):
        name = f"{fake.first_name()} {fake.last_name()}"
        plain = user = name.casefold().replace(" ", "").replace("-", "").translate(_PLAIN)
        count = 1
        while user in taken:
            count += 1
            user = f"{plain}{count}"
        taken.add(user)
        personal_number, born = _identity(fake)
        people.append(
            {
                "person_name": name,
                "user_name": user,
                "email": f"{user}@{fake.free_email_domain()}",
                "personal_number": personal_number,
                "birth_date": born.isoformat(),
                "phone": fake.phone_number(),
                "mac_address": fake.mac_address(),
                "ip_address": fake.ipv4_public(),
                "iban": fake.iban(),
            }
        )
    # Street and town on one line, as the real batches have them.
    addresses = [fake.address().replace("\n", ", ") for _ in range(SUBSCRIBERS + SUBSCRIBERS // 3)]
    return {"people": people, "addresses": addresses}


_PLAIN = str.maketrans("ăâîșşțţ", "aaisstt")


def _identity(fake: Any) -> tuple[str, date]:  # noqa: ANN401 - Faker finds its methods at run time
    """A personal number and the birth date that it says: one of a grown-up Romanian."""
    while True:
        number: str = fake.ssn()
        century = {"1": 1900, "2": 1900, "5": 2000, "6": 2000}.get(number[0])
        if century is not None and 1930 <= (year := century + int(number[1:3])) <= 2006:
            return number, date(year, int(number[3:5]), int(number[5:7]))
