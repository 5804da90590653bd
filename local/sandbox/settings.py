"""Every setting of the sandbox, in one frozen model read from the environment and the command line."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

PREFIX = "SANDBOX_"


class SettingsError(ValueError):
    """A setting that the sandbox cannot start with; its text names the setting, the fault and the remedy."""


def _utc_when_naive(value: object) -> object:
    """Read `2026-11-21T13:05` as UTC: the sandbox's clock has no other zone."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError as error:
            raise ValueError(f"{value!r} is not an ISO time such as 2026-11-21T13:05:00Z") from error
    if isinstance(value, datetime) and value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    return value


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
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cache_dir: Path
    data: Path | None = None
    now: Annotated[AwareDatetime | None, BeforeValidator(_utc_when_naive)] = None
    openweather_key: SecretStr | None = None
    openweather_calls_per_minute: Annotated[int, Field(ge=1)] = 6000
    yellow_rows: Annotated[int, Field(ge=0)] = 20_000
    green_rows: Annotated[int, Field(ge=0)] = 5_000

    def clock(self) -> datetime:
        """The sandbox's time: frozen if `now` is set, in UTC."""
        return (self.now or datetime.now(UTC)).astimezone(UTC)


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
