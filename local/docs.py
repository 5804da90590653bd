"""A server of the documentation's static files on loopback: `python -m local.docs --port N --directory D`.

dbt's docs are at /dbt/, the gates' Data Docs at /data_docs/, the daily reports at /reports/.
"""

import argparse
import functools
import http.server
from pathlib import Path

from local import ports

_INDEX = """<!doctype html><meta charset="utf-8"><title>Sluice</title><h1>Sluice</h1>
<ul>
<li><a href="/dbt/">dbt docs: every model and column</a>
<li><a href="/data_docs/">Data Docs: every gate's verdicts</a>
<li><a href="/reports/">Daily reports</a>
</ul>
"""


class Files(http.server.SimpleHTTPRequestHandler):
    """Files of one directory, with no listing of folders and nothing kept by the browser between two builds."""

    def end_headers(self) -> None:
        """Let the browser ask again each time: pages are rebuilt under the same name."""
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def list_directory(self, path: str) -> None:  # type: ignore[override]
        """Refuse to list: the front page names what there is."""
        if Path(path) != Path(self.directory):
            self.send_error(404, "Not built yet", "It appears with the first run.")
            return
        content = _INDEX.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet: nobody needs an access log of loopback."""


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m local.docs", description=__doc__)
    parser.add_argument("--host", default=ports.HOST)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--directory", type=Path, required=True)
    given = parser.parse_args()
    given.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    handler = functools.partial(Files, directory=str(given.directory))
    http.server.ThreadingHTTPServer((given.host, given.port), handler).serve_forever()
