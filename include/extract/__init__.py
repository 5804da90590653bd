"""Extraction: one HTTP client over an Airflow connection, and the sensor that waits for its API (`api_up`)."""

from include.extract.client import (
    Answer,
    Api,
    ApiClient,
    ApiDown,
    ApiError,
    KeyRefused,
    StatusError,
    base_url_of,
)

__all__ = ["Answer", "Api", "ApiClient", "ApiDown", "ApiError", "KeyRefused", "StatusError", "base_url_of"]
