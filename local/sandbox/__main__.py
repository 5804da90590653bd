"""Start the sandbox: `python -m local.sandbox --host 127.0.0.1 --port 8000 [--data DIR]`."""

import argparse
import ipaddress
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import uvicorn

from local.sandbox.app import create_app
from local.sandbox.data import DataError
from local.sandbox.faults import DroppableConnection
from local.sandbox.settings import PREFIX, Settings, SettingsError, read_settings

SHUTDOWN_SECONDS = 2
"""What a request in flight, such as one that a fault slows down, is given to end when the sandbox is stopped."""

EPILOG = "Settings come from the environment; docs/sandbox.md says what each does: " + ", ".join(
    PREFIX + name.upper() for name in Settings.model_fields
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until stopped.

    Returns:
        2 when it cannot start, with the one reason on standard error; otherwise 0.
    """
    parser = argparse.ArgumentParser(
        prog="python -m local.sandbox", description="Stands in for the public APIs.", epilog=EPILOG
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    parser.add_argument(
        "--port", type=int, default=8000, help="port to listen on, 0 for any free one (default %(default)s)"
    )
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="folder of real payloads to serve before synthetic ones"
    )
    parser.add_argument(
        "--cache-dir", type=Path, metavar="DIR", help="keeps generated months between starts (default: none is kept)"
    )
    parser.add_argument("--allow-remote", action="store_true", help="listen beyond this machine, as in a container")
    flags = parser.parse_args(arguments)
    if not (flags.allow_remote or _is_loopback(flags.host)):
        return _refuse(
            f"--host {flags.host} is reachable from other machines; use 127.0.0.1, or add --allow-remote in a container"
        )
    # uvicorn hands a SIGTERM on when it has shut down; left to its default it would end us before the cache is cleared.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with ExitStack() as stack:
        cache_dir = flags.cache_dir or os.environ.get("SANDBOX_CACHE_DIR")
        if not cache_dir:
            cache_dir = stack.enter_context(tempfile.TemporaryDirectory(prefix="sluice-sandbox-"))
        try:
            settings = read_settings(os.environ, data=flags.data, cache_dir=cache_dir)
            app = create_app(settings)
            listener = _listen(flags.host, flags.port)
        except (SettingsError, DataError) as error:
            return _refuse(str(error))
        except OSError as error:
            return _refuse(f"cannot listen on {flags.host} port {flags.port} ({error.strerror}); give another --port")
        host = f"[{flags.host}]" if ":" in flags.host else flags.host
        url = f"http://{host}:{listener.getsockname()[1]}"
        print(f"sandbox listening url={url} data={settings.data} now={settings.now}", flush=True)
        config = uvicorn.Config(
            app,
            http=DroppableConnection,
            log_level="warning",
            server_header=False,
            lifespan="off",
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        )
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])
    return 0


def _listen(host: str, port: int) -> socket.socket:
    """A socket that queues connections from now on, before the app serves them."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(128)
    return listener


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _refuse(reason: str) -> int:
    print(f"sandbox: {reason}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
