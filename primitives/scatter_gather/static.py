"""Scatter-gather with equal blocks: every rank gets n/p of the tasks at once, works, and returns its results.

    linear:   0 -> 1, 0 -> 2, 0 -> 3, ...             the root posts p-1 messages of n/p bytes
    tree:     0 ------> 4    then   0 -> 2, 4 -> 6    then   0 -> 1, 2 -> 3, 4 -> 5, 6 -> 7
              (4..7)                (2,3)   (6,7)     each message carries the blocks of a whole subtree

Gathering is the same backwards. Either way the root's port carries (p-1)/p of the n bytes. One transfer after
another, the linear form pays (p-1) alpha and the binomial tree lg p alpha; where the root's sends overlap their
latencies, as on the emulated network, the linear form pays a single alpha and the tree is never faster:

    linear   alpha + (p-1)/p n beta           (textbook, transfers in sequence: (p-1) alpha + ...)
    tree     ceil(lg p) alpha + (p-1)/p n beta

For tasks of equal cost on equal machines: nothing is balanced, all ranks wait for a straggler, and the block of a
rank that dies is lost (``MPI.Exception``; run it again, or use the dynamic form).

Blocks are bytes of any size. Source of the costs: R. Thakur, R. Rabenseifner, W. Gropp (IJHPCA 19(1), 2005);
``emulator.costs.linear_blocks``, ``tree_scatter_blocks`` and ``tree_gather_blocks`` price given sizes exactly.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from typing import Any

from mpi4py import MPI

from emulator import carrier, now
from emulator.errors import UsageError
from primitives.blocks import split
from primitives.collectives.tree import family, span
from primitives.scatter_gather.attempt import attempt, check_retries
from primitives.scatter_gather.messages import check_root
from primitives.scatter_gather.outcome import Answer, Counts, Journal, pack_outcomes, unpack_outcomes

SCATTER, GATHER = 7111, 7112
SHAPES = ("linear", "tree")


def scatter_blocks(comm: MPI.Comm, blocks: Sequence[bytes] | None, *, root: int = 0, shape: str = "linear") -> bytes:
    """Send the root's ``blocks[r]`` to rank r.

    Parameters
    ----------
    comm : communicator, bare or emulated
    blocks : on the root, bytes for every rank; ignored elsewhere
    root, shape : rank that has the blocks; "linear" or "tree"

    Raises
    ------
    UsageError
        Not one block for each rank, or a shape or root that does not exist.
    """
    _check(comm, root, shape)
    p, mine = comm.Get_size(), (comm.Get_rank() - root) % comm.Get_size()
    held: list[bytes] = []  # the blocks of this rank's subtree, its own first
    if mine == 0:
        if blocks is not None and len(blocks) == p:
            held = [blocks[(root + node) % p] for node in range(p)]
    else:
        held = _receive(comm, (root + _family(mine, p, shape)[0]) % p, SCATTER)
    sends = []
    children = _family(mine, p, shape)[1]
    for child in children if shape == "linear" else reversed(children):  # in a tree the largest subtree first
        end = child + (1 if shape == "linear" else span(child, p))
        data = pickle.dumps(held[child - mine : end - mine], protocol=5)
        sends.append(comm.Isend([data, MPI.BYTE], (root + child) % p, SCATTER))
    MPI.Request.Waitall(sends)
    if not held:  # an empty list reaches all ranks, so that all raise
        got = f"{len(blocks)}" if blocks is not None else "another number at the root" if mine else "none"
        raise UsageError(f"scatter needs one block for each of the {p} ranks, got {got}")
    return held[0]


def gather_blocks(comm: MPI.Comm, block: bytes, *, root: int = 0, shape: str = "linear") -> list[bytes] | None:
    """Return every rank's ``block`` on the root, in rank order; None elsewhere.

    Parameters
    ----------
    comm : communicator, bare or emulated
    block : this rank's bytes
    root, shape : rank that receives; "linear" or "tree"

    Raises
    ------
    UsageError
        A shape or root that does not exist.
    """
    _check(comm, root, shape)
    p, mine = comm.Get_size(), (comm.Get_rank() - root) % comm.Get_size()
    held = [block]
    parent, children = _family(mine, p, shape)  # nearest first: in a tree they are ready first
    carrier.of(comm).wait_for_all([(root + child) % p for child in children], GATHER)
    for child in children:
        held += _receive(comm, (root + child) % p, GATHER)
    if mine != 0:
        data = pickle.dumps(held, protocol=5)
        comm.Send([data, MPI.BYTE], (root + parent) % p, GATHER)
        return None
    return [held[(rank - root) % p] for rank in range(p)]


def map_blocks(
    comm: MPI.Comm,
    function: Callable[[Any], Any],
    tasks: Sequence[Any] = (),
    *,
    root: int = 0,
    shape: str = "linear",
    retries: int = 2,
) -> Answer | None:
    """Run ``function`` on each of the root's ``tasks`` in equal blocks; the answer on ``root``; collective.

    The root works too. A task that raises is tried again where it is, at most ``retries`` times, and is
    reported with its traceback; the others are not touched.

    Parameters
    ----------
    comm, function, tasks, root : as for :func:`~primitives.scatter_gather.dynamic.map_tasks`
    shape : "linear" or "tree"
    retries : further attempts for a task that raised

    Returns
    -------
    Answer or None
        The answer on ``root``, None elsewhere.
    """
    check_retries(retries)
    start, blocks = now(comm), None
    if comm.Get_rank() == root:
        blocks = [pickle.dumps(part, protocol=5) for part in split(list(enumerate(tasks)), comm.Get_size())]
    part = pickle.loads(scatter_blocks(comm, blocks, root=root, shape=shape))
    outcomes = [attempt(comm, function, task, argument, retries) for task, argument in part]
    gathered = gather_blocks(comm, pack_outcomes(outcomes), root=root, shape=shape)
    if gathered is None:
        return None
    journal, counts = Journal(), Counts(sent=len(tasks), messages=comm.Get_size() - 1)
    for data in gathered:
        rows = unpack_outcomes(data)
        journal.record_all(rows)
        counts.retries += sum(row[4] - 1 for row in rows)
    return Answer(len(tasks), journal, now(comm) - start, counts, [outcome.task for outcome in journal])


def _family(node: int, p: int, shape: str) -> tuple[int, list[int]]:
    """The parent (0 for the root) and the children of a node, counted from the root, nearest first."""
    if shape == "linear":
        return 0, list(range(1, p)) if node == 0 else []
    parent, children = family(node, p)
    return parent or 0, children


def _receive(comm: MPI.Comm, source: int, tag: int) -> list[bytes]:
    status = MPI.Status()
    comm.Probe(source, tag, status)
    data = bytearray(status.Get_count(MPI.BYTE))
    comm.Recv([data, MPI.BYTE], source, tag)
    blocks: list[bytes] = pickle.loads(data)
    return blocks


def _check(comm: MPI.Comm, root: int, shape: str) -> None:
    if shape not in SHAPES:
        raise UsageError(f"a shape is one of {', '.join(SHAPES)}, got {shape!r}")
    check_root(comm, root)
