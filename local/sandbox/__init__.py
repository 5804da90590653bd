"""The sandbox: a FastAPI app that stands in for the public APIs where no key is set.

Start it with `python -m local.sandbox --host 127.0.0.1 --port 8000 [--data DIR]`. It answers as the real systems do
(paths, payloads, error bodies, quirks), so switching a source to the real API is a matter of its Airflow connection
alone: host and key.

Modules, one a concern:

- `settings.py`: every setting, from flags and `SANDBOX_*` environment variables.
- `app.py`: the app, built from one router a source. A further source is one module and one line in its table.
- `openweather.py` with `weather.py`: current weather. `tlc.py` with `trips.py` and `newyork.py`: the taxi file host.
  `driven.py` with `usage.py`: broadband sessions. `opensea.py` with `nfts.py`: collections. `x.py` with `posts.py`:
  accounts and timelines.
- `samples.py`: the samples in the folders of sources that `./sluice new-source` has made.
- `access.py`: keys and quotas of the APIs that have them.
- `data.py`: real payloads under `--data`, which come before synthetic ones.
- `clock.py`: the time that the APIs go by, which tests stop.
- `faults.py`: misbehaviour on demand and request counts, for tests.
"""
