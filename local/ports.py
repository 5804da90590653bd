"""Where the stack listens, and free ports there: two launchers that choose at the same moment never choose the same."""

import ipaddress
import os
import socket
from collections.abc import Callable, Iterable

_LOOPBACK = "127.0.0.1"
_EVERYWHERE = "0.0.0.0"  # noqa: S104 - what is refused below unless it is asked for twice

BIND = os.environ.get("SLUICE_HOST") or _LOOPBACK
"""The address on which every service listens: SLUICE_HOST, this machine alone by default."""
HOST = _LOOPBACK if BIND in (_EVERYWHERE, "localhost") else BIND
"""The address at which they are asked."""
_HIGHEST = 65535

# A reserved port is one whose UDP twin this process holds. The kernel lets go of it when the process ends, however
# it ends, and it leaves the TCP port free for the service to listen on.
_held: dict[int, socket.socket] = {}


def _any(_: int) -> bool:
    return True


def is_remote() -> bool:
    """Whether other machines may reach what listens on `BIND`."""
    return BIND != "localhost" and not ipaddress.ip_address(BIND).is_loopback


def check_host() -> None:
    """Refuse an address that other machines reach, unless SLUICE_ALLOW_REMOTE=1 says that this is meant.

    Raises:
        OSError: SLUICE_HOST is such an address, or none.
    """
    try:
        is_refused = is_remote() and os.environ.get("SLUICE_ALLOW_REMOTE") != "1"
        ipaddress.IPv4Address(HOST)
    except ValueError:
        raise OSError(
            f"SLUICE_HOST={BIND} is no IPv4 address of this machine: unset it, and the stack listens on {_LOOPBACK}"
        ) from None
    if is_refused:
        raise OSError(
            f"SLUICE_HOST={BIND} can be reached from other machines, and the local stack is made for this one alone: "
            f"it has no TLS, and S3's inner servers no login. Unset it to listen on {_LOOPBACK}, or set "
            "SLUICE_ALLOW_REMOTE=1 too if the network is yours"
        )


def is_listening(port: int) -> bool:
    """Whether something accepts connections on the port of this machine's loopback address."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


def reserve(port: int, *, along: Iterable[int] = (), fits: Callable[[int], bool] = _any) -> bool:
    """Keep a port, and those at the given distances from it, for a service that this process will start.

    Args:
        port: The port wanted.
        along: Distances of further ports that must be free too (SeaweedFS: 10000 for gRPC).
        fits: What else must hold for the port.

    Returns:
        False, and nothing is kept, when one of them is taken or another launcher has reserved it.
    """
    wanted = [port, *(port + distance for distance in along)]
    kept: dict[int, socket.socket] = {}
    if not fits(port):
        return False
    for number in wanted:
        mark = _mark(number)
        if mark is None:
            for other in kept.values():
                other.close()
            return False
        kept[number] = mark
    _held.update(kept)
    return True


def reserve_from(first: int, *, along: Iterable[int] = (), fits: Callable[[int], bool] = _any) -> int:
    """Reserve the first free port from `first` upwards.

    Raises:
        OSError: No port above `first` is free.
    """
    distances = tuple(along)
    for port in range(first, _HIGHEST + 1 - max(distances, default=0)):
        if reserve(port, along=distances, fits=fits):
            return port
    raise OSError(f"no free port on {BIND} from {first} upwards: stop what listens there")


def keep(port: int) -> None:
    """Reserve a port on which a service of ours listens already, as far as another launcher has not."""
    mark = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        mark.bind((BIND, port))
    except OSError:
        mark.close()
    else:
        _held[port] = mark


def _mark(port: int) -> socket.socket | None:
    if port in _held or not 0 < port <= _HIGHEST:
        return None
    mark = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        mark.bind((BIND, port))
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            # With this a port in TIME_WAIT counts as free (the service that left it can take it again).
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((BIND, port))
    except OSError:
        mark.close()
        return None
    return mark
