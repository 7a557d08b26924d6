"""Every collective against what it must give, for any p, root, dtype and block sizes."""

import time
from functools import reduce as fold

import numpy as np
import pytest
from mpi4py import MPI

from emulator.errors import UsageError
from primitives import collectives as c
from primitives.collectives import operations
from tests.primitives.groups import DTYPES, GROUPS, OPERATIONS, group, reduced, same_bits, sizes, values
from tests.ranks import on_ranks
from tests.simulated import on_simulated_ranks

# Keeps the order of its operands apart: 2 x 2 matrices modulo 251, stored as four numbers in a row.
MATRIX = operations.Operation("matrix", lambda a, b, out: out.__setitem__(..., _product(a, b)), commutative=False)


def _product(a, b):
    return ((a.reshape(-1, 2, 2).astype("i8") @ b.reshape(-1, 2, 2).astype("i8")) % 251).reshape(-1).astype(a.dtype)


def _roots(p):
    return sorted({0, p // 2, p - 1})


def _ragged(p):
    """Block sizes from none to a few, different from rank to rank."""
    return [(5 * rank + 2) % 4 * (rank + 1) for rank in range(p)]


def _matrices(rank, n):
    return (np.arange(4 * n) * (rank + 2) + rank) % 251


@on_simulated_ranks(16, on_mpi={"ranks": 5, "p": [5]}, p=GROUPS, algorithm=["binomial", "linear"])
def test_broadcast(comm, p, algorithm):
    with group(comm, p) as part:
        for n, root in [(n, root) for n in sizes(p) for root in _roots(p)] if part else []:
            buffer = values(root, n, "f8") if part.rank == root else np.full(n, -1.0)
            assert c.broadcast(part, buffer, root, algorithm) is buffer
            assert np.array_equal(buffer, values(root, n, "f8"))


@on_simulated_ranks(16, on_mpi={"ranks": 5, "p": [5], "operation": ["sum"]}, p=GROUPS, operation=list(OPERATIONS))
def test_reduce(comm, p, operation):
    with group(comm, p) as part:
        for n, root in [(n, root) for n in sizes(p) for root in _roots(p)] if part else []:
            send = values(part.rank, n, "f4", operation)
            recv = np.full(n, -1, "f4") if part.rank == root else None
            c.reduce(part, send, recv, operation, root)
            assert np.array_equal(send, values(part.rank, n, "f4", operation))
            assert recv is None or np.array_equal(recv, reduced(p, n, "f4", operation))


@on_simulated_ranks(16, on_mpi={"ranks": 5, "p": [5]}, p=GROUPS)
def test_reduce_in_place(comm, p):
    with group(comm, p) as part:
        for root in _roots(p) if part else []:
            buffer = values(part.rank, 9, "i8")
            c.reduce(part, buffer, buffer if part.rank == root else None, "sum", root)
            assert np.array_equal(
                buffer, reduced(p, 9, "i8", "sum") if part.rank == root else values(part.rank, 9, "i8")
            )


@on_simulated_ranks(16, on_mpi={"ranks": 5, "p": [5]}, p=GROUPS, algorithm=["binomial", "linear"])
def test_gather_and_scatter(comm, p, algorithm):
    with group(comm, p) as part:
        for n, root in [(n, root) for n in (0, 1, 7) for root in _roots(p)] if part else []:
            block = values(part.rank, n, "i4")
            everybody = np.concatenate([values(rank, n, "i4") for rank in range(p)])
            whole = np.full(n * p, -1, "i4") if part.rank == root else None
            c.gather(part, block, whole, root, algorithm)
            assert whole is None or np.array_equal(whole, everybody)
            back = np.full(n, -1, "i4")
            c.scatter(part, whole, back, root, algorithm)
            assert np.array_equal(back, block)
            assert whole is None or np.array_equal(whole, everybody)


@on_simulated_ranks(16, on_mpi={"ranks": 5, "p": [5]}, p=GROUPS, algorithm=["binomial", "linear"])
def test_gather_and_scatter_in_place_on_the_root(comm, p, algorithm):
    with group(comm, p) as part:
        for root in _roots(p) if part else []:
            whole, block = np.zeros((p, 5)), values(part.rank, 5, "f8")
            whole[part.rank] = block
            mine = whole[part.rank] if part.rank == root else block
            c.gather(part, mine, whole if part.rank == root else None, root, algorithm)
            if part.rank == root:
                assert np.array_equal(whole, [values(rank, 5, "f8") for rank in range(p)])
            c.scatter(part, whole if part.rank == root else None, mine, root, algorithm)
            assert np.array_equal(mine, values(part.rank, 5, "f8"))


@on_simulated_ranks(16, on_mpi={"ranks": 5, "p": [5]}, p=GROUPS, spaced=[False, True])
def test_gather_v_and_scatter_v(comm, p, spaced):
    with group(comm, p) as part:
        counts = _ragged(p)
        begins = [3 * rank + sum(counts[:rank]) for rank in range(p)] if spaced else None
        for root in _roots(p) if part else []:
            block = values(part.rank, counts[part.rank], "u2")
            whole = np.full(sum(counts) + 3 * p, 9, "u2") if part.rank == root else None
            c.gather_v(part, block, whole, counts, begins, root)
            if whole is not None:
                expected = np.full(sum(counts) + 3 * p, 9, "u2")
                for rank in range(p):
                    begin = begins[rank] if begins else sum(counts[:rank])
                    expected[begin : begin + counts[rank]] = values(rank, counts[rank], "u2")
                assert np.array_equal(whole, expected)
            back = np.full(counts[part.rank], 9, "u2")
            c.scatter_v(part, whole, back, counts, begins, root)
            assert np.array_equal(back, block)


@on_simulated_ranks(16, on_mpi={"ranks": 5, "p": [5]}, p=GROUPS)
def test_all_gather(comm, p):
    with group(comm, p) as part:
        for n in (0, 1, 7) if part else []:
            expected = np.array([values(rank, n, "f8") for rank in range(p)])
            recv = np.full((p, n), -1.0)
            c.all_gather(part, values(part.rank, n, "f8"), recv)
            assert np.array_equal(recv, expected)
            recv = np.full((p, n), -1.0)
            recv[part.rank] = values(part.rank, n, "f8")
            c.all_gather(part, recv[part.rank], recv)
            assert np.array_equal(recv, expected)


@on_simulated_ranks(16, on_mpi={"ranks": 5, "p": [5]}, p=GROUPS)
def test_all_gather_v(comm, p):
    with group(comm, p) as part:
        counts = _ragged(p)
        for displacements in (None, [sum(counts[rank + 1 :]) for rank in range(p)]) if part else []:
            recv = np.full(sum(counts), -1.0)
            c.all_gather_v(part, values(part.rank, counts[part.rank], "f8"), recv, counts, displacements)
            parts = [values(rank, counts[rank], "f8") for rank in range(p)]
            assert np.array_equal(recv, np.concatenate(parts if displacements is None else parts[::-1]))


@on_simulated_ranks(16, on_mpi={"ranks": 5, "p": [5]}, p=GROUPS)
def test_all_to_all(comm, p):
    with group(comm, p) as part:
        for n in (0, 1, 5) if part else []:
            recv = np.full((p, n), -1)
            c.all_to_all(part, np.repeat(part.rank * p + np.arange(p), n), recv)
            assert np.array_equal(recv.reshape(-1), np.repeat(np.arange(p) * p + part.rank, n))


@on_simulated_ranks(16, on_mpi={"ranks": 5, "p": [5]}, p=GROUPS)
def test_all_to_all_v_with_pairs_that_say_nothing(comm, p):
    def count(source, target):
        return (source + 2 * target) % 3

    with group(comm, p) as part:
        if not part:
            return
        outgoing, incoming = [count(part.rank, to) for to in range(p)], [count(at, part.rank) for at in range(p)]
        send = np.concatenate([np.full(outgoing[to], part.rank * p + to) for to in range(p)])
        recv = np.full(sum(incoming), -1)
        c.all_to_all_v(part, send, outgoing, recv, incoming)
        assert np.array_equal(recv, np.concatenate([np.full(incoming[at], at * p + part.rank) for at in range(p)]))


@on_simulated_ranks(16, on_mpi={"ranks": 5, "p": [5], "operation": ["sum"]}, p=GROUPS, operation=list(OPERATIONS))
def test_reduce_scatter(comm, p, operation):
    with group(comm, p) as part:
        for counts in (_ragged(p), [0] * p, [3] * p) if part else []:
            send = values(part.rank, sum(counts), "f4", operation)
            recv = np.full(counts[part.rank], -1, "f4")
            c.reduce_scatter(part, send, recv, counts, operation)
            begin = sum(counts[: part.rank])
            whole = reduced(p, sum(counts), "f4", operation)
            assert np.array_equal(recv, whole[begin : begin + counts[part.rank]])
            assert np.array_equal(send, values(part.rank, sum(counts), "f4", operation))


@on_simulated_ranks(16, on_mpi={"ranks": 5, "p": [5]}, p=GROUPS)
def test_scan_and_exscan(comm, p):
    with group(comm, p) as part:
        for n in (0, 1, 11) if part else []:
            recv = np.full(n, -1)
            c.scan(part, values(part.rank, n, "i8"), recv)
            assert np.array_equal(recv, reduced(part.rank + 1, n, "i8", "sum"))
            recv = np.full(n, -1)
            c.exscan(part, values(part.rank, n, "i8"), recv)
            assert np.array_equal(recv, reduced(part.rank, n, "i8", "sum") if part.rank else np.full(n, -1))


@on_simulated_ranks(16, on_mpi={"ranks": 5, "p": [5]}, p=GROUPS)
def test_an_operation_that_does_not_commute_keeps_the_order_of_the_ranks(comm, p):
    def product(ranks):
        return fold(_product, [_matrices(rank, 3) for rank in ranks])

    with group(comm, p) as part:
        for root in _roots(p) if part else []:
            recv = np.zeros(12, "i8")
            c.reduce(part, _matrices(part.rank, 3), recv if part.rank == root else None, MATRIX, root)
            assert part.rank != root or np.array_equal(recv, product(range(p)))
        if part:
            recv = np.zeros(12, "i8")
            c.scan(part, _matrices(part.rank, 3), recv, MATRIX)
            assert np.array_equal(recv, product(range(part.rank + 1)))
            recv = np.zeros(12, "i8")
            c.exscan(part, _matrices(part.rank, 3), recv, MATRIX)
            assert part.rank == 0 or np.array_equal(recv, product(range(part.rank)))
            recv = np.zeros(4, "i8")
            c.reduce_scatter(part, _matrices(part.rank, p), recv, None, MATRIX)
            whole = fold(_product, [_matrices(rank, p) for rank in range(p)])
            assert np.array_equal(recv, whole[4 * part.rank : 4 * part.rank + 4])


@on_ranks(4, dtype=DTYPES)
def test_every_dtype_travels(comm, dtype):
    block = values(comm.rank, 6, dtype)
    recv = np.zeros((4, 6), dtype)
    c.all_gather(comm, block, recv)
    assert np.array_equal(recv, [values(rank, 6, dtype) for rank in range(4)])
    total = np.zeros(6, dtype)
    c.reduce(comm, block, total if comm.rank == 2 else None, "sum", 2)
    assert comm.rank != 2 or np.array_equal(total, reduced(4, 6, dtype, "sum"))


@on_ranks(4)
def test_mpi_operations_mean_what_mpi_says(comm):
    bits = np.array([comm.rank, comm.rank ^ 6, 255 - comm.rank], "u1")
    for op in (MPI.BAND, MPI.BOR, MPI.BXOR, MPI.LAND, MPI.LOR, MPI.LXOR, MPI.MAX, MPI.MIN, MPI.SUM, MPI.PROD):
        ours, native = np.zeros(3, "u1"), np.zeros(3, "u1")
        c.reduce(comm, bits, ours if comm.rank == 0 else None, op)
        comm.Reduce(bits, native, op)
        assert np.array_equal(ours, native), op
    pairs = np.array([(comm.rank % 2, comm.rank), (7, comm.rank)], [("value", "f8"), ("index", "i4")])
    for op, best in ((MPI.MAXLOC, 1), (MPI.MINLOC, 0)):
        result = c.all_reduce(comm, pairs, op=op)
        assert [tuple(pair) for pair in result.tolist()] == [(best, best), (7, 0)]


@on_ranks(4)
def test_a_users_mpi_operation(comm):
    def larger_magnitude(given, held, datatype):
        a, b = np.frombuffer(given, "f8"), np.frombuffer(held, "f8")
        b[:] = np.where(np.abs(a) > np.abs(b), a, b)

    op = MPI.Op.Create(larger_magnitude, commute=True)
    result = c.all_reduce(comm, np.array([-1.0, 2.0]) * (comm.rank - 3), op=op)
    assert result.tolist() == [3.0, -6.0]
    op.Free()


@on_simulated_ranks(16, on_mpi={"ranks": 5, "p": [3, 4]}, p=GROUPS)
def test_nobody_leaves_the_barrier_before_the_last_has_come(comm, p):
    with group(comm, p) as part:
        for last in _roots(p) if part else []:
            part.gather(None, last)  # the last one comes after the others are on their way
            come = time.perf_counter()
            c.barrier(part)
            gone = time.perf_counter()
            assert min(part.allgather(gone)) >= max(part.allgather(come))


@on_ranks(4)
def test_long_messages_in_segments(comm):
    n = 700_000
    recv = np.zeros((4, n))
    c.all_gather(comm, values(comm.rank, n, "f8"), recv)
    assert all(np.array_equal(recv[rank], values(rank, n, "f8")) for rank in range(4))
    assert same_bits(comm, recv)
    total = np.zeros(n)
    c.reduce_scatter(comm, np.concatenate([values(comm.rank + block, n, "f8") for block in range(4)]), total)
    assert np.array_equal(total, sum(values(rank + comm.rank, n, "f8") for rank in range(4)))


def _one():
    return MPI.COMM_SELF


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: c.broadcast(_one(), np.zeros(3), root=1), "root must be a rank from 0 to 0, got 1"),
        (lambda: c.broadcast(_one(), np.zeros(3), algorithm="ring"), "binomial or linear, got 'ring'"),
        (lambda: c.broadcast(_one(), np.zeros((4, 4))[:, 0]), "must be contiguous"),
        (lambda: c.broadcast(_one(), [1, 2]), "must be a numpy array, got list"),
        (lambda: c.gather(_one(), np.zeros(3), None), "needs a buffer for all blocks, got None"),
        (lambda: c.gather(_one(), np.zeros(3), np.zeros(4)), "must hold 1 blocks of 3 x float64, got 4"),
        (
            lambda: c.scatter(_one(), np.zeros(3, "f4"), np.zeros(3)),
            "must hold 1 blocks of 3 x float64, got 3 x float32",
        ),
        (lambda: c.gather_v(_one(), np.zeros(3), np.zeros(3), [4]), "ends at 4 in a buffer of 3"),
        (lambda: c.gather_v(_one(), np.zeros(3), np.zeros(9), [4]), "same size and dtype"),
        (lambda: c.gather_v(_one(), np.zeros(3), np.zeros(3), [1, 2]), "counts must be 1 numbers >= 0"),
        (lambda: c.gather_v(_one(), np.zeros(3), np.zeros(3), [-3]), "counts must be 1 numbers >= 0"),
        (lambda: c.all_gather(_one(), np.zeros(3), np.zeros(4)), "must hold 1 blocks of 3 elements, got 4"),
        (lambda: c.all_to_all(_one(), np.zeros(3), np.zeros(4)), "must be alike"),
        (lambda: c.reduce_scatter(_one(), np.zeros(3), np.zeros(4)), "needs 4 elements to send"),
        (lambda: c.scan(_one(), np.zeros(3), np.zeros(3), "mean"), "an operation must be one of sum, prod, min, max"),
        (lambda: c.scan(_one(), np.zeros(3), np.zeros(3), MPI.REPLACE), "reduce nothing"),
        (lambda: c.scan(_one(), np.array([None]), np.array([None])), "must hold plain numbers"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(UsageError, match=message):
        call()
