"""The app: one router a source, the control routes, health and a front page."""

from collections.abc import Callable
from html import escape
from importlib.util import find_spec

from fastapi import APIRouter, FastAPI
from fastapi.responses import HTMLResponse

from local.sandbox import clock, driven, faults, opensea, openweather, tlc, x
from local.sandbox.data import check_folder
from local.sandbox.settings import Settings

SOURCES: dict[str, Callable[[Settings], APIRouter]] = {
    openweather.NAME: openweather.router,
    tlc.NAME: tlc.router,
    driven.NAME: driven.router,
    opensea.NAME: opensea.router,
    x.NAME: x.router,
}
"""Each source's routes, by its name, which is also its folder's under `--data`. A further source is one line here."""

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Sluice sandbox</title></head>
<body style="font: 16px/1.5 system-ui, sans-serif; max-width: 45em; margin: 3em auto">
<h1>Sluice sandbox</h1>
<p>Stands in for the public APIs while no key is set: {sources}.
Nothing here is real unless <code>--data</code> is given (now: {data}).</p>
<p><a href="/docs">Routes</a> &middot; <a href="/_sandbox/requests">what was asked so far</a> &middot;
<a href="/healthz">health</a></p>
</body></html>
"""


def create_app(settings: Settings) -> FastAPI:
    """Build the app.

    Raises:
        DataError: The `--data` folder cannot be served.
    """
    if settings.data is not None:
        check_folder(settings.data, SOURCES)
    app = FastAPI(title="Sluice sandbox", description=__doc__)
    control = faults.Faults()
    app.add_middleware(faults.FaultMiddleware, faults=control)
    for build in SOURCES.values():
        app.include_router(build(settings))
    # The sandbox's own image holds neither sources nor the code that reads them.
    if find_spec("include") is not None:
        from local.sandbox import samples

        app.include_router(samples.router(settings))
    app.include_router(faults.router(control))
    app.include_router(clock.router(settings.clock))

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Answers once every source is ready."""
        return {"status": "ok"}

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def front_page() -> str:
        return _PAGE.format(
            sources=", ".join(SOURCES), data=escape(str(settings.data)) if settings.data else "not given"
        )

    return app
