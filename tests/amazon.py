"""AWS's APIs as moto answers them, over HTTP, for what the S3 server of the tests does not have."""

from collections.abc import Iterator
from contextlib import contextmanager

from moto.server import ThreadedMotoServer


@contextmanager
def endpoint() -> Iterator[str]:
    """The URL of an AWS with nothing in it, on a port of its own."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()
