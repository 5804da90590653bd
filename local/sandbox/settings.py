"""Every setting of the sandbox, in one frozen model read from the environment and the command line."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from local.sandbox.clock import Clock, Moment

PREFIX = "SANDBOX_"


class SettingsError(ValueError):
    """A setting that the sandbox cannot start with; its text names the setting, the fault and the remedy."""


def _counts(value: object) -> object:
    """Read `friendsies:450,harbour-lights:30` as a number for each name."""
    if not isinstance(value, str):
        return value
    pairs = [pair.strip().rpartition(":") for pair in value.split(",") if pair.strip()]
    wrong = [name + colon + count for name, colon, count in pairs if not (name and count.isdecimal())]
    if wrong:
        raise ValueError(f"{wrong[0]!r} is not a name and a number such as friendsies:450")
    return {name: int(count) for name, _, count in pairs}


Counts = Annotated[dict[str, Annotated[int, Field(ge=0)]], BeforeValidator(_counts)]
"""A number for each name; in the environment `name:number,name:number`."""


class Settings(BaseModel):
    """What the sandbox serves and how much of it.

    Each field is read from the environment variable `SANDBOX_<FIELD>`; `--data` and `--cache-dir` override theirs.

    Attributes:
        cache_dir: Folder of generated months; the command line falls back to a temporary one.
        data: Folder of real payloads that are served before synthetic ones (layout in `data.py`), or None.
        now: Freezes the clock (ISO time, UTC when it names no zone), or None for the real one.
        openweather_key: The accepted key, or several with commas between them; None accepts any key of 32 hex digits.
        openweather_calls_per_minute: Quota of each key over a sliding minute; the free tier of the real API has 60.
        yellow_rows: Rows of a synthetic yellow month (a real one has 3.3 to 4.1 million).
        green_rows: Rows of a synthetic green month (a real one has about 42,000).
        driven_key: The accepted key, or several with commas between them; None accepts any.
        driven_sessions: Sessions that the usage API holds on any day: the newest ones.
        driven_sessions_a_day: Most sessions of one day; a day has at least 17 in 20 of it.
        opensea_key: As driven_key.
        opensea_calls_per_hour: Quota of each key in windows of an hour; an instant key of the real API has 600.
        opensea_collections: The synthetic collections and how many NFTs each holds on any day.
        x_key: The accepted bearer token, or several with commas between them; None accepts any.
        x_calls_per_window: Quota of each token and route; the real API has about 900 in a window.
        x_window_seconds: How long that window is; 15 minutes with the real API.
        samples_key: As driven_key, of all sources whose samples are served.
        x_posts: The synthetic accounts and how many posts each timeline holds at any time: the newest ones.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cache_dir: Path
    data: Path | None = None
    now: Moment | None = None
    openweather_key: SecretStr | None = None
    openweather_calls_per_minute: Annotated[int, Field(ge=1)] = 6000
    yellow_rows: Annotated[int, Field(ge=0)] = 20_000
    green_rows: Annotated[int, Field(ge=0)] = 5_000
    driven_key: SecretStr | None = None
    driven_sessions: Annotated[int, Field(ge=0, le=5_000_000)] = 100_000
    driven_sessions_a_day: Annotated[int, Field(ge=10, le=100_000)] = 1_000
    opensea_key: SecretStr | None = None
    opensea_calls_per_hour: Annotated[int, Field(ge=1)] = 36_000
    opensea_collections: Counts = {"friendsies": 450, "cryptodevamigos": 201, "harbour-lights": 30}
    x_key: SecretStr | None = None
    x_calls_per_window: Annotated[int, Field(ge=1)] = 10_000
    x_window_seconds: Annotated[int, Field(ge=1)] = 900
    samples_key: SecretStr | None = None
    x_posts: Counts = {"harbour_news": 230, "open_rivers": 120, "sluice_data": 40}

    @cached_property
    def clock(self) -> Clock:
        """The sandbox's time: `settings.clock()` is now, in UTC."""
        return Clock(self.now)


def read_settings(environ: Mapping[str, str], **flags: object) -> Settings:
    """Build the settings from `SANDBOX_*` variables and flags; a flag that is not None wins.

    Args:
        environ: The environment; variables without the prefix are ignored, empty ones count as unset.
        flags: Field values from the command line.

    Raises:
        SettingsError: A variable that is no setting, or a value that does not fit; one line, without any secret.
    """
    values: dict[str, object] = {
        name.removeprefix(PREFIX).lower(): value for name, value in environ.items() if name.startswith(PREFIX) and value
    }
    values |= {name: value for name, value in flags.items() if value is not None}
    unknown = sorted(set(values) - set(Settings.model_fields))
    if unknown:
        known = ", ".join(_variable(field) for field in Settings.model_fields)
        raise SettingsError(f"{_variable(unknown[0])} is not a setting of the sandbox; use one of {known}, or unset it")
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = str(first["loc"][0])
        raise SettingsError(
            f"{_variable(field)}: {first['msg'].removeprefix('Value error, ')}; correct or unset it"
        ) from error


def _variable(field: str) -> str:
    return PREFIX + field.upper()
