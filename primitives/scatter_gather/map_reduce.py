"""MapReduce, a small layer over scatter-gather.

    coordinator:   [input 0] [input 1] [input 2] ...          tasks, pulled by the workers
                       |         |         |
    map            w1: the->2    w2: a->1    w1: a->1         mapper(input) gives (key, value) pairs, kept where
                       cat->1        the->1                   they were made
                        \\        /         |
    shuffle        hash(key) mod workers names the reducer    one message for each pair of workers
                        |                  |
    reduce         w1: the->3          w2: a->2, cat->1       reducer(key, values)
                         \\               /
    gather         coordinator: {the: 3, a: 2, cat: 1}

The map phase has all that dynamic tasks have: retries, backups for stragglers, the death of workers. A map task
that ran twice counts once, because only the attempt that the coordinator booked takes part in the shuffle; a dead
worker's finished tasks run again, because their output died with it. A death during the shuffle or later is not
repaired here: it surfaces as ``MPI.Exception``, and the job is run again.

Bytes: of n bytes of pairs, (w-1)/w cross the network in the shuffle, each worker sending and receiving n (w-1)/w^2;
with ``combine`` n is what is left after each worker has reduced its own. Time of the shuffle on w workers:
alpha + beta n (w-1)/w^2, as every worker sends to all others at once. Limits: everything is in memory, equal keys
must have equal ``repr``, and values reach the reducer in no particular order.

Source: J. Dean, S. Ghemawat, "MapReduce: Simplified Data Processing on Large Clusters" (OSDI 2004).
"""

from __future__ import annotations

import contextlib
import pickle
import traceback
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

from mpi4py import MPI

from primitives.scatter_gather import Answer, Coordinator, Journal, TaskFailed, coordinator, stable_hash
from primitives.scatter_gather.outcome import TasksMissing

Key = Hashable
Mapper = Callable[[Any], Iterable[tuple[Key, Any]]]
Reducer = Callable[[Key, list[Any]], Any]
PLAN, SHUFFLE, RESULT = 7131, 7132, 7133


class ReduceFailed(Exception):
    """The reducer raised; the message holds the first key and its traceback."""


def map_reduce(
    comm: MPI.Comm,
    mapper: Mapper,
    reducer: Reducer,
    inputs: Sequence[Any] = (),
    *,
    root: int = 0,
    combine: bool = False,
    **options: Any,
) -> dict[Key, Any] | None:
    """Collective: reduce what ``mapper`` makes of the root's ``inputs``, by key; the result on ``root``.

    Parameters
    ----------
    comm
        Communicator, bare or emulated, of at least 2 ranks; the root coordinates, the others work.
    mapper
        ``mapper(input)`` gives (key, value) pairs.
    reducer
        ``reducer(key, values)`` gives the key's result.
    inputs
        The root's; ignored elsewhere.
    root
        Rank of the coordinator.
    combine
        Let each worker reduce its own pairs before the shuffle. The reducer must then accept its own results as
        values, and be associative and commutative (a sum, a maximum).
    **options
        Of :class:`~primitives.scatter_gather.Coordinator` (``membership``) and of its ``stream`` (``retries``,
        ``speculate``).

    Returns
    -------
    dict or None
        Result by key on ``root``, None elsewhere.

    Raises
    ------
    TaskFailed
        On the root: an input made the mapper raise more often than ``retries``.
    ReduceFailed
        On the root: the reducer raised for some key.
    MPI.Exception
        A rank died after the map phase.
    """
    held: dict[int, list[tuple[Key, Any]]] = {}

    def run(task: tuple[int, Any]) -> None:
        index, argument = task
        held[index] = list(mapper(argument))

    own = {name: options.pop(name) for name in ("membership",) if name in options}
    with coordinator(comm, run, root=root, **own) as pool:
        answer = None if pool is None else _map(pool, list(enumerate(inputs)), options)
    if pool is not None and answer is not None:
        return _collect(comm, pool.living, answer)
    _shuffle_and_reduce(comm, reducer, held, root, combine)
    return None


def _map(pool: Coordinator, tasks: list[tuple[int, Any]], options: dict[str, Any]) -> Answer:
    """Have every input mapped, and held by a worker that lives."""
    journal = Journal()
    answer = pool.ask(tasks, journal=journal, **options)
    while lost := [outcome.task for outcome in journal if outcome.ok and outcome.rank not in pool.living]:
        for task in lost:
            journal.forget(task)
        answer = pool.ask(tasks, journal=journal, **options)
        if answer.missing:
            break
    return answer


def _collect(comm: MPI.Comm, workers: list[int], answer: Answer) -> dict[Key, Any]:
    """The root's part: say who reduces what, and gather the results."""
    complete = not answer.failures and not answer.missing
    booked: dict[int, list[int]] = {worker: [] for worker in workers}
    for outcome in answer.journal if complete else ():
        booked[outcome.rank].append(outcome.task)
    sends = [_send(comm, (workers if complete else [], tasks), worker, PLAN) for worker, tasks in booked.items()]
    for rank in set(range(comm.Get_size())) - {comm.Get_rank(), *workers}:
        with contextlib.suppress(MPI.Exception):  # given up on; if it lives all the same, it may go home
            _send(comm, ([], []), rank, PLAN)[0].Wait()
    for request, _ in sends:
        request.Wait()
    if answer.failures:
        raise TaskFailed(answer.failures)
    if answer.missing:
        raise TasksMissing(answer.missing)
    result: dict[Key, Any] = {}
    failed: list[str] = []
    for worker in workers:
        part, tracebacks = _receive(comm, worker, RESULT)
        result |= part
        failed += tracebacks
    if failed:
        raise ReduceFailed(f"the reducer raised for {len(failed)} keys, first:\n{failed[0]}")
    return result


def _shuffle_and_reduce(
    comm: MPI.Comm, reducer: Reducer, held: dict[int, list[tuple[Key, Any]]], root: int, combine: bool
) -> None:
    """A worker's part after its map tasks; nothing if the job has failed."""
    workers, tasks = _receive(comm, root, PLAN)
    if not workers:
        return
    failed: list[str] = []  # tracebacks; the others must get this rank's messages all the same
    mine = _grouped(pair for task in tasks for pair in held[task])
    if combine:
        mine = {key: [value] for key, value in _reduced(reducer, mine, failed).items()}
    parts: dict[int, dict[Key, list[Any]]] = {worker: {} for worker in workers}
    for key, values in mine.items():
        parts[workers[stable_hash(key) % len(workers)]][key] = values
    rank = comm.Get_rank()
    others = [worker for worker in workers if worker != rank]
    sends = [_send(comm, parts[worker], worker, SHUFFLE) for worker in others]
    received = [parts[rank], *(_receive(comm, worker, SHUFFLE) for worker in others)]
    whole: dict[Key, list[Any]] = defaultdict(list)
    for part in received:
        for key, values in part.items():
            whole[key] += values
    sends.append(_send(comm, (_reduced(reducer, whole, failed), failed), root, RESULT))
    for request, _ in sends:
        request.Wait()


def _reduced(reducer: Reducer, groups: dict[Key, list[Any]], failed: list[str]) -> dict[Key, Any]:
    """The reducer's result for each key; a traceback for those that made it raise goes to ``failed``."""
    results = {}
    for key, values in groups.items():
        try:
            results[key] = reducer(key, values)
        except Exception:
            failed.append(f"key {key!r}: {traceback.format_exc()}")
    return results


def _grouped(pairs: Iterable[tuple[Key, Any]]) -> dict[Key, list[Any]]:
    groups: dict[Key, list[Any]] = defaultdict(list)
    for key, value in pairs:
        groups[key].append(value)
    return groups


def _send(comm: MPI.Comm, message: Any, rank: int, tag: int) -> tuple[MPI.Request, bytes]:
    """Start sending; the bytes must live as long as the request."""
    data = pickle.dumps(message, protocol=5)
    return comm.Isend([data, MPI.BYTE], rank, tag), data


def _receive(comm: MPI.Comm, source: int, tag: int) -> Any:
    status = MPI.Status()
    comm.Probe(source, tag, status)
    data = bytearray(status.Get_count(MPI.BYTE))
    comm.Recv([data, MPI.BYTE], source, tag)
    return pickle.loads(data)
