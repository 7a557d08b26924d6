"""Cost of patterns around one busy card: parameter servers, incast, a federated server."""

from collections.abc import Iterable, Sequence

from emulator.costs.model import Pattern, Terms
from emulator.errors import UsageError

CONSISTENCIES = ("synchronous", "bounded", "asynchronous")
SHARINGS = ("message", "packet")
"""How a card serves messages that meet: whole, one after another, or packet by packet, all at once.

Of k messages of n bytes whose first bytes arrive together, at alpha, the i-th is through at alpha + i n beta, or each
at alpha + k n beta: an incast ends at the same time, what waits for the first of several messages does not.
"""


def check_sharing(sharing: str) -> None:
    """Refuse an unknown way to share a card."""
    if sharing not in SHARINGS:
        raise UsageError(f"sharing is one of {', '.join(SHARINGS)}, got {sharing!r}")


def _checked(workers: int, servers: int, consistency: str = "synchronous") -> None:
    if workers < 1 or servers < 1:
        raise UsageError(f"a parameter server has workers >= 1 and servers >= 1, got {workers} and {servers}")
    if consistency not in CONSISTENCIES:
        raise UsageError(f"a consistency is one of {', '.join(CONSISTENCIES)}, got {consistency!r}")


# Synchronous: a server answers worker after worker; the first to be answered pushes while the others are still being
# answered, so that both directions of the servers' cards are busy at once and a latency is paid once each way. A
# server's card carries w pieces of n/k bytes each way, overlapped; filling and draining the pipeline costs a worker's
# own k pieces. Exact on an idle emulated network of one rank per host. A worker that waits for no other (bounded below
# its bound, asynchronous) has its own round trip, or, when the servers are full, its turn among all: a lower bound,
# since steps that happen to meet at a server queue there. Each replica takes the push over one more message.
# Packet by packet all pushes are through at the same time, when the last one is, and so are all answers: nothing
# overlaps, and each way takes the busier of a server's card and a worker's.


def _chain(workers: int, servers: int, consistency: str, touched: float, replicas: int, sharing: str) -> Terms:
    _checked(workers, servers, consistency)
    check_sharing(sharing)
    if sharing == "packet":
        meet = workers if consistency == "synchronous" else 1
        way = max(1.0, meet / servers)
        return Terms(2 + replicas, touched * way * (2 + replicas), touched * meet / servers)
    if consistency == "synchronous":
        volume, reduced = (workers + servers) / servers, workers / servers
        forwarded = replicas * workers / servers
    else:
        volume, reduced, forwarded = (servers + 1) / servers, 1 / servers, replicas / servers
    return Terms(2 + replicas, touched * (volume + forwarded), touched * reduced)


def _shared(
    workers: int, servers: int, consistency: str, touched: float, replicas: int, sharing: str
) -> Iterable[Terms]:
    if consistency == "synchronous":
        return []
    share = touched * workers / servers
    return [Terms(0, share * (1 + replicas)), Terms(0, 0, share)]


def _traffic(
    workers: int, servers: int, consistency: str, touched: float, replicas: int, sharing: str
) -> tuple[float, float]:
    return touched, touched * max(1.0, workers / servers * (1 + replicas))


def _serial(workers: int, servers: int) -> Terms:
    _checked(workers, servers)
    return Terms(2 * workers, 2 * workers / servers, workers / servers)


def incast(n: float, paths: Sequence[tuple[float, float]]) -> float:
    """Time until one receiver has n bytes from every one of several senders that start together, in seconds.

    The receiver's port takes messages one after another, in the order in which their first bytes arrive. `paths`
    holds (alpha, beta) of each sender's way to it; k equal ones give ``alpha + k n beta``.
    """
    port = 0.0
    for alpha, beta in sorted(paths):
        port = max(port, alpha) + n * beta
    return port


PARAMETER_SERVER = Pattern(
    "parameter_server",
    "synchronous: 2 alpha + (p + k)/k n beta + p/k n gamma, where cards are shared packet by packet 2 alpha + "
    "2 max(1, p/k) n beta + p/k n gamma; otherwise max(2 alpha + (1 + 1/k) n beta + n/k gamma, "
    "p n/k max(beta, gamma)); p workers beside k servers, n bytes that a worker pushes and pulls; each replica adds "
    "alpha and its copy of the pushes",
    "Li et al. (OSDI 2014) for the pattern, Ho et al. (2013) for bounded staleness; the pipeline is derived here",
    _chain, _traffic,
    {"servers": 1, "consistency": "synchronous", "touched": 1.0, "replicas": 0, "sharing": "message"}, _shared,
)  # fmt: skip

SERIAL_SERVER = Pattern(
    "serial_parameter_server",
    "max(2 p (alpha + n beta/k) + p n/k gamma, 2 (k alpha + n beta)), cards that carry one message at a time",
    "derived here: Hockney's message through one port",
    _serial, lambda workers, servers: (1.0, max(1.0, workers / servers)), {"servers": 1},
    lambda workers, servers: [Terms(2 * servers, 2)],
)  # fmt: skip

INCAST = Pattern(
    "incast",
    "alpha + p n beta, p senders of n bytes",
    "derived here: Hockney's message, with a queue at the receiver's card",
    lambda p: Terms(1, p), lambda p: (1.0, p),
)  # fmt: skip


def _federated(p: int, sharing: str) -> Terms:
    check_sharing(sharing)
    return Terms(2, p + 1 if sharing == "message" else 2 * p)


FEDERATED = Pattern(
    "federated",
    "2 alpha + (p + 1) n beta, p clients, n bytes of a model with its header; packet by packet 2 alpha + 2 p n beta",
    "McMahan et al. (2017) for the pattern; the k-th client answers k models later, just when the server's card has "
    "taken in the (k-1)-th answer",
    _federated, lambda p, sharing: (1.0, p), {"sharing": "message"},
)  # fmt: skip
