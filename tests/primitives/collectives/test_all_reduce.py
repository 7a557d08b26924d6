"""All-reduce by every algorithm, for any p, n, dtype and operation; plans that are kept, and handles."""

from functools import reduce as fold

import numpy as np
import pytest
from mpi4py import MPI

from emulator.errors import UsageError
from primitives.buffers import IN_PLACE
from primitives.collectives import operations
from primitives.collectives.all_reduce import ALGORITHMS, all_reduce, prepare, start
from primitives.collectives.persistent import KEPT, TAGS_IN_FLIGHT, cache_of, wait_all
from primitives.collectives.reduction import STAGED_BYTES
from primitives.collectives.tuning import ORDERED
from tests.primitives.groups import DTYPES, GROUPS, OPERATIONS, group, noise, reduced, same_bits, sizes, values
from tests.ranks import on_ranks
from tests.simulated import on_simulated_ranks

EVERY = [*ALGORITHMS, "auto"]
BEYOND = STAGED_BYTES // 8 + 37


@on_simulated_ranks(
    16, on_mpi={"ranks": 5, "p": [1, 3, 4], "operation": ["sum"]}, p=[*GROUPS, 16], algorithm=EVERY,
    operation=list(OPERATIONS),
)  # fmt: skip
def test_exact_results(comm, p, algorithm, operation):
    with group(comm, p) as part:
        for n in sizes(p) if part else []:
            send = values(part.rank, n, "f8", operation)
            result = all_reduce(part, send, op=operation, algorithm=algorithm)
            assert np.array_equal(result, reduced(p, n, "f8", operation))
            assert np.array_equal(send, values(part.rank, n, "f8", operation))


@on_simulated_ranks(
    16,
    on_mpi={"ranks": 5, "p": [3, 4], "length": [BEYOND]},
    p=GROUPS,
    algorithm=EVERY,
    length=[5, 1001, BEYOND],
)
def test_identical_bits_however_it_is_called(comm, p, algorithm, length):
    with group(comm, p) as part:
        if not part:
            return
        send, recv, both = noise(part.rank, length), np.full(length, np.nan), noise(part.rank, length)
        new = all_reduce(part, send, algorithm=algorithm)
        assert all_reduce(part, send, recv, algorithm=algorithm) is recv
        assert all_reduce(part, both, IN_PLACE, algorithm=algorithm) is both
        assert new.tobytes() == recv.tobytes() == both.tobytes()
        assert same_bits(part, new)
        assert np.allclose(new, sum(noise(rank, length) for rank in range(p)), rtol=1e-9, atol=1e-9)


@on_simulated_ranks(8, on_mpi={"ranks": 5, "algorithm": ["ring"]}, dtype=DTYPES, algorithm=list(ALGORITHMS))
def test_every_dtype(comm, dtype, algorithm):
    for p in (1, 2, comm.size - 2, comm.size - 1):
        with group(comm, p) as part:
            for operation in OPERATIONS if part else []:
                result = all_reduce(part, values(part.rank, 23, dtype, operation), op=operation, algorithm=algorithm)
                assert result.dtype == np.dtype(dtype)
                assert np.array_equal(result, reduced(p, 23, dtype, operation))
                assert same_bits(part, result)


@pytest.mark.filterwarnings("ignore:(overflow|invalid value) encountered:RuntimeWarning")
@on_simulated_ranks(
    16,
    on_mpi={"ranks": 5, "dtype": ["f4"], "operation": ["sum"]},
    dtype=["f2", "f4", "F", "D"],
    algorithm=list(ALGORITHMS),
    operation=["sum", "prod"],
)
def test_rounding_is_the_same_on_every_rank(comm, dtype, algorithm, operation):
    for n in (3, 100, 4097):
        real = noise(comm.rank, 2 * n).clip(-3, 3)
        send = (real[:n] + 1j * real[n:]).astype(dtype) if dtype in "FD" else real[:n].astype(dtype)
        assert same_bits(comm, all_reduce(comm, send, op=operation, algorithm=algorithm))


@on_simulated_ranks(5, algorithm=list(ALGORITHMS))
def test_signed_zeros_and_nans_have_the_same_bits(comm, algorithm):
    zeros = np.array([0.0, -0.0] * 20)
    zeros = np.roll(zeros, comm.rank)
    zeros[5] = np.nan if comm.rank == 2 else 1.0
    for operation in OPERATIONS:
        result = all_reduce(comm, zeros, op=operation, algorithm=algorithm)
        assert same_bits(comm, result)
        assert np.isnan(result[5])


@on_simulated_ranks(5, shape=[(), (3,), (2, 3, 4), (0,), (3, 0)], algorithm=list(ALGORITHMS))
def test_any_shape(comm, shape, algorithm):
    result = all_reduce(comm, np.full(shape, comm.rank + 1.0), algorithm=algorithm)
    assert result.shape == shape
    assert np.array_equal(result, np.full(shape, 15.0))


@on_simulated_ranks(7, algorithm=EVERY)
def test_a_users_function_and_other_operations(comm, algorithm):
    send = noise(comm.rank, 40)
    everybody = [noise(rank, 40) for rank in range(7)]

    def euclid(a, b):
        return np.sqrt(a * a + b * b)

    result = all_reduce(comm, send, op=euclid, algorithm=algorithm)
    assert np.allclose(result, np.sqrt(sum(x * x for x in everybody)))
    result = all_reduce(comm, send, op=np.logaddexp, algorithm=algorithm)
    assert np.allclose(result, np.logaddexp.reduce(everybody))
    assert np.array_equal(all_reduce(comm, send, op=MPI.MAX, algorithm=algorithm), np.maximum.reduce(everybody))


@on_simulated_ranks(16, on_mpi={"ranks": 5, "p": [5]}, p=GROUPS, algorithm=list(ORDERED))
def test_these_keep_the_order_of_the_ranks(comm, p, algorithm):
    # Matrix products do not commute; a 2 x 2 matrix is one element, so that no algorithm can cut through it.
    matrix = np.dtype([("m", "i8", (2, 2))])

    def product(a, b):
        out = np.empty_like(a)
        out["m"] = (a["m"] @ b["m"]) % 251
        return out

    with group(comm, p) as part:
        if part:
            inputs = [np.zeros(9, matrix) for _ in range(p)]
            for rank, array in enumerate(inputs):
                array["m"] = (np.arange(36).reshape(9, 2, 2) * (rank + 2) + rank) % 251
            result = all_reduce(part, inputs[part.rank], op=product, algorithm=algorithm)
            assert np.array_equal(result["m"], fold(product, inputs)["m"])


@on_ranks(3, length=[10, BEYOND])
def test_plans_are_kept_and_freed_with_the_communicator(comm, length):
    part = comm.Dup()
    send, recv = np.ones(length), np.empty(length)
    for _ in range(5):
        all_reduce(part, send, recv, algorithm="ring")
    plans = cache_of(part)
    assert len(plans) == 1
    (plan,) = plans.values()
    halves = getattr(plan, "inner", plan)._phases
    assert all(half._requests for half in halves)
    part.Free()
    assert not plans
    assert not any(half._requests for half in halves)


@on_ranks(3)
def test_no_more_plans_are_kept_than_promised(comm):
    for _ in range(2):
        for n in range(KEPT + 10):
            assert np.array_equal(all_reduce(comm, np.ones(n)), np.full(n, 3.0))
    assert len(cache_of(comm)) == KEPT
    assert cache_of(comm.Dup()) is not cache_of(comm)


@on_ranks(3)
def test_kept_plans_do_not_keep_arrays_alive(comm):
    send = np.ones(BEYOND)
    watched = send.view(_Watched)
    alive = _Watched.alive
    all_reduce(comm, watched, IN_PLACE)
    del watched
    assert _Watched.alive < alive


class _Watched(np.ndarray):
    alive = 0

    def __array_finalize__(self, other):
        _Watched.alive += 1

    def __del__(self):
        _Watched.alive -= 1


@on_ranks(2)
def test_a_plan_that_failed_is_not_used_again(comm):
    def broken(a, b):
        raise ZeroDivisionError

    for n in (4, BEYOND):
        part = comm.Dup()
        with pytest.raises(ZeroDivisionError):
            all_reduce(part, np.ones(n), op=broken, algorithm="recursive_doubling")
        assert not cache_of(part)


@on_simulated_ranks(16, on_mpi={"ranks": 5, "p": [5]}, p=GROUPS)
def test_many_at_once_in_any_order_of_progress(comm, p):
    with group(comm, p) as part:
        if not part:
            return
        lengths = [3, 1000, 20_000, 30_000, 0, 77]
        outputs = [np.empty(n) for n in lengths]
        pending = [
            start(part, noise(part.rank, n), output, "sum", algorithm, 4096)
            for n, output, algorithm in zip(lengths, outputs, [*EVERY], strict=True)
        ]
        ordinary = all_reduce(part, np.ones(5))
        order = np.random.default_rng(part.rank)
        while pending:
            chosen = int(order.integers(len(pending)))
            if pending[chosen].test():
                pending.pop(chosen)
        assert np.array_equal(ordinary, np.full(5, float(p)))
        for n, output in zip(lengths, outputs, strict=True):
            assert np.allclose(output, sum(noise(rank, n) for rank in range(p)), rtol=1e-9, atol=1e-9)
            assert same_bits(part, output)


@on_ranks(4, algorithm=EVERY)
def test_prepared_plans_overlap_and_run_again(comm, algorithm):
    buckets = [np.empty(n) for n in (10, 5000, 30_000)]
    plans = [prepare(comm, bucket, IN_PLACE, algorithm=algorithm) for bucket in buckets]
    assert len({plan.tag for plan in plans}) == 3
    for step in range(4):
        for bucket, plan in zip(buckets, plans, strict=True):
            bucket[:] = comm.rank + step
            plan.start()
        wait_all(plans if comm.rank % 2 else plans[::-1])
        assert all((bucket == 6 + 4 * step).all() for bucket in buckets)
    for plan in plans:
        plan.free()


@on_ranks(1)
def test_tags_come_round(comm):
    plans = cache_of(comm)
    tags = [plans.next_tag() for _ in range(TAGS_IN_FLIGHT + 1)]
    assert tags[0] == tags[-1]
    assert len(set(tags)) == TAGS_IN_FLIGHT
    assert max(tags) < 32767  # what MPI allows at least


def after(a, b):
    """The map x -> a(b(x)) of two affine maps, each a complex number: slope + i intercept."""
    return a.real * b.real + 1j * (a.real * b.imag + a.imag)


def keep_after(a, b, _):
    """What MPI asks of an operation: ``b = a after b``, on raw memory."""
    first, second = (np.frombuffer(memory, np.complex128) for memory in (a, b))
    second[:] = after(first, second)


@on_simulated_ranks(
    8, on_mpi={"ranks": 5, "p": [5]}, p=[2, 3, 4, 5], length=[1, 1000, 100_000], algorithm=["auto", *ORDERED]
)
def test_an_operation_that_does_not_commute_is_taken_in_the_order_of_the_ranks(comm, p, length, algorithm):
    operation = MPI.Op.Create(keep_after, commute=False)
    with group(comm, p) as part:
        if part:
            mine = [np.full(length, complex(rank + 2, rank + 1)) for rank in range(p)]
            found = all_reduce(part, mine[part.rank], op=operation, algorithm=algorithm)
            assert np.array_equal(found, fold(after, mine))
            plans = len(cache_of(part))
            all_reduce(part, mine[part.rank], found, operation, algorithm)
            all_reduce(part, mine[part.rank], found, operation, algorithm)
            assert len(cache_of(part)) <= plans + 1  # found again, though MPI's operation is not the plan's own
            with pytest.raises(UsageError, match="does not commute"):
                all_reduce(part, mine[0], op=operation, algorithm="ring")
    operation.Free()


@on_simulated_ranks(7, on_mpi={"ranks": 5, "algorithm": ["ring"]}, length=[12, BEYOND], algorithm=EVERY)
def test_arrays_with_gaps(comm, length, algorithm):
    def gaps(rank):
        return np.repeat(noise(rank, length), 3).reshape(length, 3)[:, 1]

    expected = all_reduce(comm, noise(comm.rank, length), algorithm=algorithm)
    send, frame = gaps(comm.rank), np.full((2, length), 7.0)
    for recv in (None, np.empty(length), frame.T[:, 1], IN_PLACE):
        assert np.array_equal(all_reduce(comm, send, recv, algorithm=algorithm), expected)
    assert np.array_equal(frame[1], expected)
    assert np.array_equal(frame[0], np.full(length, 7.0))
    assert np.array_equal(send, expected)


ONE = MPI.COMM_SELF


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: all_reduce(ONE, np.ones(4), np.ones(5)), "must be like the send buffer, float64 of shape"),
        (lambda: all_reduce(ONE, np.ones(4), np.ones((2, 2))), "must be like the send buffer, float64 of shape"),
        (lambda: all_reduce(ONE, np.ones(4), np.ones(4, "f4")), "got float32 of shape"),
        (lambda: all_reduce(ONE, np.ones(4), [0.0] * 4), r"of shape \(4,\), got list: "),
        (lambda: prepare(ONE, np.ones((4, 4)).T[:, :2], IN_PLACE), "send buffer must be contiguous, got strides"),
        (lambda: all_reduce(ONE, [1.0]), "must be a numpy array, got list"),
        (lambda: all_reduce(ONE, np.array(["a", None])), "plain numbers, got dtype object"),
        (lambda: all_reduce(ONE, np.ones(3), op="mean"), "an operation must be one of sum, prod, min, max"),
        (lambda: all_reduce(ONE, np.ones(3), op=[]), "an operation must be one of sum, prod, min, max"),
        (lambda: all_reduce(ONE, np.ones(3), op=np.negative), "an operation must be one of"),
        (lambda: all_reduce(ONE, np.ones(3), op=MPI.OP_NULL), "reduce nothing"),
        (lambda: all_reduce(ONE, np.ones(3), algorithm="best"), "auto or one of ring, recursive_doubling"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(UsageError, match=message):
        call()


def test_read_only_and_overlapping_buffers_are_refused():
    frozen = np.ones(4)
    frozen.flags.writeable = False
    with pytest.raises(UsageError, match="must be writable"):
        all_reduce(ONE, np.ones(4), frozen)
    whole = np.ones(2 * BEYOND)
    with pytest.raises(UsageError, match="overlap"):
        all_reduce(ONE, whole[:-1], whole[1:])


def test_operations_are_found_by_many_names():
    for name, ufunc in OPERATIONS.items():
        apply = operations.resolve(name).apply
        assert getattr(apply, "function", apply) is ufunc
        assert operations.resolve(getattr(MPI, name.upper())) is operations.resolve(name.upper())
        assert operations.resolve(operations.NAMED[name]) is operations.NAMED[name]
