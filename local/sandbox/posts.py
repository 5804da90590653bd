"""Plausible accounts of X and their posts.

Everything follows from the username and the post's place in time, which is cut into slots of a few hours with one post
each. What is not plain:

- Ids are snowflakes: their upper bits are the time of the post, to the millisecond.
- Metrics grow for `GROWS_HOURS`, a little every hour, and stay.
- One post in 17 is edited after some minutes: it gets a new id and time, and both ids in its history.
- Texts hold what breaks pipelines: newlines, emoji, right-to-left script, quotes of every kind, 25,000 characters
  (`note_tweet`; `text` shows the first 280).
"""

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Protocol

GROWS_HOURS = 48
SHORT, LONGEST = 280, 25_000
"""Characters that a post shows at once, and that it may have."""
SNOWFLAKE_EPOCH_MS = 1_288_834_974_657
USUAL_FIELDS = ("id", "text", "edit_history_tweet_ids")
"""What a post is served with when nothing else is asked for."""

NAUGHTY = (
    "First line\nsecond line\r\nthird\tafter a tab\n\n\ttwo empty lines above",
    "\N{FAMILY} \U0001f469\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \U0001f3f3\ufe0f\u200d\U0001f308"
    " \U0001f1f7\U0001f1f4 \U0001f926\U0001f3fe\u200d\u2642\ufe0f 1\ufe0f\u20e3",
    "الميناء مفتوح الساعة 7:30 صباحًا، والعبّارة رقم 12 (harbour) في موعدها",
    "הרציף הצפוני סגור; see https://t.co/AbCdEfGh12 עד יום חמישי",
    "\u202eright to left override\u202c and \u2066isolated\u2069 back again",
    "Robert'); DROP TABLE posts;-- ' OR 1=1 --",
    "<script>alert('x')</script> &lt;b&gt; &amp;amp; <img src=x onerror=alert(1)>",
    'a "quoted", comma, semi;colon and back\\slash \\n not a newline, \\N not a null',
    "NULL",
    "null undefined None NaN nil true 1E+02 0x0 -0 ,,, ''''",
    "{{ 7*7 }} {% raw %} ${HOME} $(id) `id` %s %d %n {0} \\u0041",
    "=cmd|' /C calc'!A0 +1 -1 @SUM(1+1)",
    "Z\u0351\u036b\u0343a\u0329\u034el\u0335\u0361g\u0328\u0322o\u031b\u0321 wave",
    "e\u0301 and é, ﬁ, ß, İi, ŉ, Ǆ: the same or not the same",
    "zero\u200bwidth\u200cjoiners\u200d, soft\u00adhyphen, nbsp\u00a0here, bom\ufeffinside,"
    " line\u2028and paragraph\u2029separators",
    "部落格 田中さんにあげて下さい 사회과학원 어학연구소 ð ĳ \U00020bb7野家 \U0010fffd",
    "\u0001\u0002\u0007\u0008\u000b\u000c\u001b[31mred\u001b[0m\u007f\u0080\u009f control characters",
    "  leading and trailing blanks  ",
    ".",
    "../../etc/passwd\x25 C:\\con\\aux file:///etc/hosts http://a/%%30%30",
)
_TALK = (
    "{who}: the {thing} is {state} since {hour}:00. {more}",
    "What {number} {thing}s taught us about {topic} \U0001f30a {more}",
    "{number} % more {thing}s than last year. Thread on {topic} \U0001f447 {more}",
    "We are {state}! Ask us about the {thing} until {hour}:30. {more}",
    "{topic}, explained: why a {thing} may be {state}. {more}",
)
_WORDS = {
    "thing": ("ferryboat", "lock", "weir", "sluice", "buoy", "crane", "tide table", "dataset", "gauge"),
    "state": ("open", "closed for repair", "late", "ready", "under review", "back again"),
    "topic": ("spring tides", "open data", "dredging", "river health", "data contracts", "late rows"),
    "more": ("#harbour", "#rivers #opendata", "https://t.co/Ab3dEfGh1J", "", "@sluice_data knows more."),
}


@dataclass(frozen=True)
class Account:
    """One account.

    Attributes:
        username: Its handle, without the @.
        size: How many synthetic posts its timeline holds at any time: the newest ones.
        real_user: Its real user object, if there is one.
        real_posts: Its real posts by id, if there are any.
    """

    username: str
    size: int
    real_user: dict[str, Any] = field(default_factory=dict)
    real_posts: dict[str, dict[str, Any]] = field(default_factory=dict)

    @cached_property
    def id(self) -> str:
        """Its id, a number as text."""
        return str(self.real_user.get("id") or snowflake(self._since, self.username))

    @property
    def _since(self) -> datetime:
        return datetime(2016, 3, 1, tzinfo=UTC) + timedelta(minutes=_number(self.username, "since") % 2_000_000)

    @property
    def _slot_seconds(self) -> int:
        return (4 + _number(self.username, "slot") % 5) * 3600

    def user(self, now: datetime) -> dict[str, Any]:
        """Every field of its user object, https://docs.x.com/x-api/fundamentals/data-dictionary#user."""
        days = (now - self._since).days
        followers = 500 + _number(self.username, "followers") % 90_000
        url = f"https://t.co/{_hash(self.username, 'url')[:10]}"
        return {
            "id": self.id,
            "name": self.username.replace("_", " ").title(),
            "username": self.username,
            "created_at": _time(self._since),
            "description": f"What {self.username} has to say.\nFrom the sandbox \N{WATER WAVE}",
            "entities": {"url": {"urls": [{"start": 0, "end": len(url), "url": url}]}},
            "location": "Constanța",
            "profile_image_url": f"https://pbs.example.org/profile_images/{self.username}_normal.png",
            "protected": False,
            "public_metrics": {
                "followers_count": followers + days * (1 + followers // 20_000),
                "following_count": 40 + _number(self.username, "following") % 800,
                "tweet_count": int(now.timestamp()) // self._slot_seconds - 60_000,
                "listed_count": followers // 90,
                "like_count": 3 * days,
                "media_count": days // 4,
            },
            "url": url,
            "verified": _number(self.username) % 2 == 0,
            "verified_type": "blue" if _number(self.username) % 2 == 0 else "none",
            **self.real_user,
        }

    def timeline(self, now: datetime) -> Iterator["Post"]:
        """Its posts at a time, newest first, real ones in their place."""
        real = sorted(
            (_RealPost(self, post) for post in self.real_posts.values()), key=lambda post: post.id, reverse=True
        )
        slot = int(now.timestamp()) // self._slot_seconds
        made = 0
        while made < self.size:
            post = _MadePost(self, slot, now)
            slot -= 1
            if post.first_at <= now:
                made += 1
                while real and real[0].id > post.id:
                    yield real.pop(0)
                yield post
        yield from real


class Post(Protocol):
    """One post: its id, and all its fields as soon as they are wanted."""

    id: int

    def fields(self, now: datetime) -> dict[str, Any]:
        """Every field, https://docs.x.com/x-api/fundamentals/data-dictionary#tweet."""
        ...


class _MadePost(Post):
    def __init__(self, account: Account, slot: int, now: datetime) -> None:
        self._account, self._slot = account, slot
        # The last hour of a slot stays free, so that an edit never comes after the next post.
        seconds = account._slot_seconds
        milliseconds = _number(account.username, slot, "at") % ((seconds - 3600) * 1000)
        self.first_at = datetime.fromtimestamp(slot * seconds, UTC) + timedelta(milliseconds=milliseconds)
        edited_at = self.first_at + timedelta(minutes=5 + slot % 25)
        self._is_edited = slot % 17 == 5 and edited_at <= now
        self.at = edited_at if self._is_edited else self.first_at
        self.id = snowflake(self.at, account.username)

    def fields(self, now: datetime) -> dict[str, Any]:
        account, slot = self._account, self._slot
        dice = random.Random(_hash(account.username, slot))  # noqa: S311 - talk, not a secret
        kind = {3: "replied_to", 6: "retweeted", 8: "quoted"}.get(slot % 11)
        other = str(snowflake(self.first_at - timedelta(hours=5), "somebody"))
        text = _text(account.username, slot, dice)
        if kind == "retweeted":
            text = f"RT @somebody: {text}"[:LONGEST]
        elif kind == "replied_to":
            text = f"@somebody {text}"[:LONGEST]
        first = str(snowflake(self.first_at, account.username))
        found: dict[str, Any] = {
            "id": str(self.id),
            # A long post is cut here as on the site, and whole in note_tweet.
            "text": text if len(text) <= SHORT else text[: SHORT - 1] + "…",
            "edit_history_tweet_ids": [first, str(self.id)] if self._is_edited else [first],
            "author_id": account.id,
            "conversation_id": other if kind == "replied_to" else first,
            "created_at": _time(self.at),
            "edit_controls": {
                "edits_remaining": 4 if self._is_edited else 5,
                "is_edit_eligible": kind is None,
                "editable_until": _time(self.first_at + timedelta(hours=1)),
            },
            "lang": "ro" if dice.random() < 0.1 else "en",
            "possibly_sensitive": False,
            "public_metrics": self._metrics(now, dice, is_retweet=kind == "retweeted"),
            "reply_settings": "everyone",
        }
        if kind is not None:
            found["referenced_tweets"] = [{"type": kind, "id": other}]
        if kind == "replied_to":
            found["in_reply_to_user_id"] = str(snowflake(datetime(2015, 1, 1, tzinfo=UTC), "somebody"))
        if len(text) > SHORT:
            found["note_tweet"] = {"text": text}
        return found

    def _metrics(self, now: datetime, dice: random.Random, *, is_retweet: bool) -> dict[str, int]:
        hours = (now - self.first_at) // timedelta(hours=1)
        share = min(hours / GROWS_HOURS, 1.0) ** 0.6
        impressions = dice.lognormvariate(7.5, 1.1)
        likes = impressions * dice.uniform(0.005, 0.04)
        most = {
            "retweet_count": likes * 0.3,
            "reply_count": likes * 0.12,
            "like_count": 0.0 if is_retweet else likes,
            "quote_count": likes * 0.05,
            "bookmark_count": likes * 0.08,
            "impression_count": impressions,
        }
        return {name: int(value * share) for name, value in most.items()}


class _RealPost(Post):
    """A real post; what it was recorded without is made up where its id or its owner says it."""

    def __init__(self, account: Account, post: dict[str, Any]) -> None:
        self._account, self._post = account, post
        self.id = int(post["id"])

    def fields(self, now: datetime) -> dict[str, Any]:  # noqa: ARG002 - what is recorded grows no more
        at = datetime.fromtimestamp(((self.id >> 22) + SNOWFLAKE_EPOCH_MS) / 1000, UTC)
        return {
            "edit_history_tweet_ids": [self._post["id"]],
            "author_id": self._account.id,
            "conversation_id": self._post["id"],
            "created_at": _time(at),
            "public_metrics": dict.fromkeys(_METRICS, 0),
            **self._post,
        }


_METRICS = ("retweet_count", "reply_count", "like_count", "quote_count", "bookmark_count", "impression_count")


def snowflake(at: datetime, salt: str) -> int:
    """An id of a moment: milliseconds since the service's epoch, then 22 bits that tell those of one apart."""
    milliseconds = round(at.timestamp() * 1000) - SNOWFLAKE_EPOCH_MS
    return milliseconds << 22 | _number(salt, milliseconds) % 2**22


def _text(username: str, slot: int, dice: random.Random) -> str:
    if slot % 40 == 17:
        return _long(username, slot)
    if slot % 5 == 1:
        return NAUGHTY[slot // 5 % len(NAUGHTY)]
    words = {name: dice.choice(choice) for name, choice in _WORDS.items()}
    return (
        dice.choice(_TALK)
        .format(who=username.replace("_", " ").title(), hour=dice.randrange(24), number=dice.randrange(2, 98), **words)
        .strip()
    )


def _long(username: str, slot: int) -> str:
    """A post as long as a post may be, which ends otherwise than it begins."""
    paragraph = f"{username} at length, part {{}} of {slot}: tide \N{WATER WAVE}, țărm, 港, مرفأ.\n\n"
    text = "".join(paragraph.format(part) for part in range(1, LONGEST // 40))
    end = f"— the end of {slot}."
    return text[: LONGEST - len(end)] + end


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}Z"


def _hash(*parts: object) -> str:
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()


def _number(*parts: object) -> int:
    return int(_hash(*parts)[:16], 16)
