"""Patterns around a port that everybody wants: incast, and parameter servers in three disciplines."""

from collections.abc import Sequence

from emulator.errors import UsageError


def parameter_server(workers: int, shards: int, n: float, alpha: float, beta: float, gamma: float = 0.0) -> float:
    """Time of one push and pull of n bytes between all workers and a sharded server, in seconds.

    Either a server's port carries everything that its shard gets, or a worker's port everything it sends to all
    shards; the slower of the two decides:
    ``max(2 w (alpha + n beta / k) + w n gamma / k, 2 (k alpha + n beta))``. With one shard this is
    ``2 w (alpha + n beta) + w n gamma``.
    """
    if workers < 1 or shards < 1:
        raise UsageError(f"a parameter server has workers >= 1 and shards >= 1, got {workers} and {shards}")
    server = 2 * workers * (alpha + n * beta / shards) + workers * n * gamma / shards
    worker = 2 * (shards * alpha + n * beta)
    return max(server, worker)


def incast(n: float, paths: Sequence[tuple[float, float]]) -> float:
    """Time until one receiver has n bytes from every one of several senders that start together, in seconds.

    The receiver's port takes messages one after another, in the order in which their first bytes arrive. `paths`
    holds (alpha, beta) of each sender's way to it; k equal ones give ``alpha + k n beta``.
    """
    port = 0.0
    for alpha, beta in sorted(paths):
        port = max(port, alpha) + n * beta
    return port


def parameter_server_duplex(
    workers: int, shards: int, n: float, alpha: float, beta: float, gamma: float = 0.0, compute: float = 0.0
) -> float:
    """Time of one synchronous step (push and pull of n bytes) where every port is full duplex, in seconds.

    A server answers worker after worker; the first to be answered pushes while the others are still being answered,
    so that both directions of the servers' ports are busy at once and a latency is paid once each way::

        2 alpha + (w + k) (n/k) beta + w (n/k) gamma + compute

    A server's port carries w pieces of n/k bytes each way, overlapped; filling and draining the pipeline costs a
    worker's own k pieces. Exact on an idle emulated network of one rank per host.
    """
    if workers < 1 or shards < 1:
        raise UsageError(f"a parameter server has workers >= 1 and shards >= 1, got {workers} and {shards}")
    piece = n / shards
    return 2 * alpha + (workers + shards) * piece * beta + workers * piece * gamma + compute


def parameter_server_free(
    workers: int, shards: int, n: float, alpha: float, beta: float, gamma: float = 0.0, compute: float = 0.0
) -> float:
    """Time of one asynchronous step of a worker that waits for nobody, in seconds, ports full duplex.

    Its own round trip, or, when the servers are full, its turn among all: ``max(compute + 2 alpha + (1 + 1/k) n beta +
    (n/k) gamma, w (n/k) max(beta, gamma))``. A lower bound: steps that happen to meet at a server queue there.
    """
    if workers < 1 or shards < 1:
        raise UsageError(f"a parameter server has workers >= 1 and shards >= 1, got {workers} and {shards}")
    alone = compute + 2 * alpha + (shards + 1) / shards * n * beta + n / shards * gamma
    return max(alone, workers * n / shards * max(beta, gamma))
