"""Servers and workers as real processes."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from mpi4py import MPI

import emulator
from emulator.errors import UsageError
from primitives.parameter_server import Add, Consistency, ParameterServer, Table, Worker, messages
from tests.primitives.parameter_server_training import (
    ROLES,
    ROWS,
    STEPS,
    UPDATES,
    batch,
    check_bit_equal,
    gradients,
    sequential,
    tables,
    train,
)
from tests.ranks import on_ranks
from tests.simulated import on_simulated_ranks


@on_simulated_ranks(
    4,
    on_mpi={"update": ["momentum"], "placement": ["range"]},
    roles=list(ROLES),
    update=list(UPDATES),
    placement=["range", "consistent"],
)
def test_bsp_is_bit_equal_to_the_sequential_run(comm: Any, roles: str, update: str, placement: str) -> None:
    ps = check_bit_equal(comm, roles, update, placement)
    assert ps.summary().staleness.largest == 0


@on_ranks(4, roles=["two servers", "all both"], replicas=[2])
def test_replicas_hold_the_same_bits(comm: Any, roles: str, replicas: int) -> None:
    ps = check_bit_equal(comm, roles, "momentum", "hash", replicas=replicas)
    mine = [] if ps.server is None else [
        (index, [part.values.tobytes() for part in shard.parts]) for index, shard in ps.server.shards.items()
    ]  # fmt: skip
    everything = list(itertools.chain(*comm.allgather(mine)))
    assert len(everything) == replicas * len(ps.layout.shards)
    for shard in ps.layout.shards:
        first, *others = [values for index, values in everything if index == shard]
        assert all(other == first for other in others)


@on_simulated_ranks(4, on_mpi={"servers": [2]}, kind=["async", "ssp"], servers=[1, 2, 3], replicas=[1, 2])
def test_sums_are_exact_whatever_the_order(comm: Any, kind: str, servers: int, replicas: int) -> None:
    """Whole numbers add up exactly in any order: nothing is lost, nothing counts twice, one's own is always there."""
    if replicas > servers:
        return
    ps = ParameterServer(
        comm, [Table("w", ROWS, update=Add())], servers=servers, consistency=Consistency(kind, 2), replicas=replicas
    )

    def work(worker: Worker) -> None:
        own = np.zeros(ROWS)
        for step in range(20):
            assert (worker.pull("w") >= own).all()
            gradient = np.random.default_rng((worker.rank, step)).integers(0, 3, ROWS).astype(float)
            worker.push("w", gradient, closes=True)
            own += gradient
        worker.flush()

    ps.run(work)
    expected = sum(
        np.random.default_rng((rank, step)).integers(0, 3, ROWS) for rank in ps.layout.workers for step in range(20)
    )
    keys, values = ps.owned("w")
    np.testing.assert_array_equal(values, expected[keys])


@on_simulated_ranks(4, on_mpi={"straggler": [3]}, bound=[0, 1, 3], straggler=[1, 3])
def test_ssp_under_a_straggler_never_exceeds_its_bound(comm: Any, bound: int, straggler: int) -> None:
    """Each worker counts in its own row: what a read misses is seen from outside, not from the rule's own figures."""
    ps = ParameterServer(comm, [Table("w", 4, update=Add())], consistency=Consistency("ssp", bound))

    def work(worker: Worker) -> int:
        behind = 0
        for step in range(15):
            seen = worker.pull("w")[1:]
            behind = max(behind, step - int(seen.min()))
            emulator.compute(comm, 0.004 if worker.rank == straggler else 0.0)
            one = np.zeros(4)
            one[worker.rank] = 1
            worker.push("w", one, closes=True)
        return behind

    behind = ps.run(work)
    assert behind is None or behind <= bound
    seen = ps.summary().staleness
    assert seen.largest <= bound
    assert comm.allreduce(seen.total()) == 45


@on_ranks(4, kind=["bsp", "ssp", "async"], early=[1, 3])
def test_a_worker_that_leaves_holds_nobody_up(comm: Any, kind: str, early: int) -> None:
    ps = ParameterServer(comm, [Table("w", 4, update=Add())], consistency=Consistency(kind, 1))

    def work(worker: Worker) -> None:
        for _ in range(2 if worker.rank == early else 8):
            worker.pull("w")
            worker.push("w", np.ones(4), closes=True)

    ps.run(work)
    if ps.server is not None:
        assert ps.owned("w")[1].tolist() == [2 + 8 + 8] * 4


@on_ranks(4)
def test_a_worker_that_raises_holds_nobody_up(comm: Any) -> None:
    ps = ParameterServer(comm, [Table("w", 4, update=Add())])

    def work(worker: Worker) -> str:
        for step in range(6):
            worker.pull("w")
            if worker.rank == 2 and step == 3:
                raise ArithmeticError("my own")
            worker.push("w", np.ones(4), closes=True)
        return "done"

    try:
        outcome = ps.run(work)
    except ArithmeticError:
        outcome = "raised"
    assert outcome == {0: None, 2: "raised"}.get(comm.Get_rank(), "done")
    if ps.server is not None:
        assert ps.owned("w")[1].tolist() == [3 + 6 + 6] * 4


@on_ranks(4, kind=["bsp", "async"], refuse=[True, False])
def test_nan_is_reported_with_its_rank(comm: Any, kind: str, refuse: bool) -> None:
    ps = ParameterServer(
        comm, [Table("w", 4, update=Add())], servers=2, consistency=Consistency(kind), refuse_nan=refuse
    )

    def work(worker: Worker) -> dict[int, int]:
        for step in range(4):
            worker.pull("w")
            gradient = np.ones(4)
            if worker.rank == 3 and step == 1:
                gradient[2] = np.nan  # in the second server's half
            worker.push("w", gradient, closes=True)
        worker.flush()
        return worker.channel.not_finite

    told = ps.run(work)
    rank = comm.Get_rank()
    assert told == {0: None, 1: None, 2: {}, 3: {1: 1}}[rank]
    assert ps.summary().not_finite == ({3: 1} if rank == 1 else {})
    if rank < 2:
        expected = [8.0, 8.0] if rank == 0 else [7.0, 7.0] if refuse else [np.nan, 8.0]
        np.testing.assert_array_equal(ps.owned("w")[1], expected)


@on_ranks(4)
def test_a_flood_of_pushes_does_not_starve_a_pull(comm: Any) -> None:
    """Workers 1 and 2 push until worker 3, having read ten times, tells them to stop."""
    ps = ParameterServer(comm, [Table("w", 4, update=Add())], consistency=Consistency("async"))
    tag = 5

    def work(worker: Worker) -> int:
        pushes = 0
        if worker.rank == 3:
            for _ in range(10):
                worker.pull("w")
            for flooder in (1, 2):
                comm.Send([np.zeros(1), MPI.DOUBLE], flooder, tag)
        else:
            while not comm.Iprobe(3, tag):
                worker.push("w", np.ones(4), closes=True)
                pushes += 1
                if pushes % 32 == 0:
                    worker.flush()
            comm.Recv([np.zeros(1), MPI.DOUBLE], 3, tag)
        return pushes

    pushes = comm.allreduce(ps.run(work) or 0)
    if ps.server is not None:
        assert ps.owned("w")[1].tolist() == [pushes] * 4


@on_ranks(4)
def test_an_unchanged_key_list_travels_once(comm: Any) -> None:
    ps = ParameterServer(comm, [Table("w", 1000, 2, update=Add(), placement="hash")], servers=2)
    keys = np.arange(0, 1000, 3)

    def work(worker: Worker) -> list[int]:
        sizes = []
        for _ in range(3):
            before = worker.channel.sent_bytes
            worker.pull("w", keys)
            worker.push("w", np.ones((len(keys), 2)), keys, closes=True)
            sizes.append(worker.channel.sent_bytes - before)
        return sizes

    sizes = ps.run(work)
    if sizes is not None:
        headers, values, lists = 4 * messages.HEADER_BYTES, len(keys) * 16, 2 * len(keys) * messages.KEY.itemsize
        assert sizes == [headers + values + lists, headers + values, headers + values]


@on_ranks(4, compression=["fp16", "topk:0.1"], replicas=[1, 2])
def test_compression_sends_less_and_loses_little(comm: Any, compression: str, replicas: int) -> None:
    table = Table("w", 1000, dtype=np.float32, update=Add())
    ps = ParameterServer(comm, [table], servers=replicas, workers=[3], replicas=replicas, compression=compression)

    def work(worker: Worker) -> tuple[int, int, np.ndarray]:
        before = worker.channel.sent_bytes
        for step in range(30):
            worker.push("w", np.linspace(0, 1, 1000, dtype=np.float32) if step == 0 else np.zeros(1000), closes=True)
        sent, before = worker.channel.sent_bytes - before, worker.channel.received_bytes
        values = worker.pull("w")
        return sent, worker.channel.received_bytes - before, values

    outcome = ps.run(work)
    if outcome is not None:
        sent, received, values = outcome
        full = 30 * (4000 + replicas * messages.HEADER_BYTES)
        assert sent < full * (0.53 if compression == "fp16" else 0.23)
        assert received == (2000 if compression == "fp16" else 4000) + replicas * messages.HEADER_BYTES
        # Top-k sends a tenth at a time, largest first: thirty pushes are enough for everything to have arrived.
        np.testing.assert_allclose(values, np.linspace(0, 1, 1000), atol=0 if compression != "fp16" else 5e-4)


@on_simulated_ranks(
    4,
    on_mpi={"servers": [2], "kind": ["ssp"]},
    compression=["fp16", "topk:0.5"],
    servers=[1, 2],
    kind=["bsp", "ssp", "async"],
)
def test_compressed_push_and_pull_in_one_loses_nothing(comm: Any, compression: str, servers: int, kind: str) -> None:
    """Small whole numbers are exact in float16, and each worker's last push of nothing sends what top-k has kept."""
    ps = ParameterServer(
        comm, [Table("w", 8, 2, update=Add())], servers=servers, consistency=Consistency(kind, 1),
        compression=compression,
    )  # fmt: skip
    given = np.arange(16.0).reshape(8, 2)

    def work(worker: Worker) -> None:
        for gradient in (given, given[::-1], 0 * given, 0 * given):
            worker.push_pull("w", gradient).wait()

    ps.run(work)
    parts = comm.allgather(ps.owned("w"))
    total = np.concatenate([values for _, values in parts])
    assert total.tolist() == ((4 - servers) * (given + given[::-1])).tolist()


@on_ranks(4, gone=[0, 1], moment=[1, 4])
def test_the_chain_goes_on_without_a_server(comm: Any, gone: int, moment: int) -> None:
    """A server stops taking part, its last messages unread; the result is still the sequential one, bit by bit."""
    specs = tables("momentum", "range")
    ps = ParameterServer(comm, specs, servers=2, replicas=2)
    notice, rank = 5, comm.Get_rank()

    def work(worker: Worker) -> Any:
        for step in range(STEPS):
            keys = batch(worker.rank, step)
            dense, sparse = worker.pull("dense"), worker.pull("sparse", keys)
            if step == moment:
                comm.Send([np.zeros(1), MPI.DOUBLE], gone, notice)
            dense_gradient, sparse_gradient = gradients(worker.rank, step, dense, sparse)
            worker.push("dense", dense_gradient)  # perhaps lost, perhaps half handed on
            if step == moment:
                worker.channel.drop(gone)
            worker.push("sparse", sparse_gradient, keys, closes=True)
        return worker.pull("dense"), worker.pull("sparse")

    if ps.server is not None and rank == gone:
        for worker in ps.layout.workers:
            while not comm.Iprobe(worker, notice):
                ps.server.poll()
            comm.Recv([np.zeros(1), MPI.DOUBLE], worker, notice)
        comm.Send([np.zeros(1), MPI.DOUBLE], 1 - gone, notice)
    else:
        if ps.server is not None:
            while not comm.Iprobe(gone, notice):
                ps.server.poll()
            comm.Recv([np.zeros(1), MPI.DOUBLE], gone, notice)
            ps.server.drop(gone)
        got = ps.run(work)
        expected = sequential([2, 3], specs)
        if got is not None:
            assert got[0].tobytes() == expected[0].tobytes()
            assert got[1].tobytes() == expected[1].tobytes()
    comm.Barrier()
    _discard(comm)


@on_ranks(4, early=[0, 1])
def test_replicas_agree_on_a_dead_workers_last_push(comm: Any, early: int) -> None:
    """Server `early` hears of worker 3's death before its first push, the other one after its last."""
    ps = ParameterServer(comm, tables("momentum", "range"), servers=2, replicas=2)
    rank, notice = comm.Get_rank(), 5
    if ps.server is not None:
        if rank != early:
            while not comm.Iprobe(3, notice):
                ps.server.poll()
            comm.Recv([np.zeros(1), MPI.DOUBLE], 3, notice)
            while ps.server.poll():  # its pushes came before its notice
                pass
        ps.server.drop(3)
        ps.server.serve()
    elif rank == 3:
        for step in range(3):  # and never says good-bye
            ps.worker.push("dense", np.full(ROWS, step + 1.0), closes=True)
        comm.Send([np.zeros(1), MPI.DOUBLE], 1 - early, notice)
    else:
        ps.run(train)
    comm.Barrier()
    _discard(comm)
    mine = [] if ps.server is None else [
        (index, dict(shard.applied), shard.updates, [[*map(bytes, (part.values, *part.state))] for part in shard.parts])
        for index, shard in ps.server.shards.items()
    ]  # fmt: skip
    everything = list(itertools.chain(*comm.allgather(mine)))
    for shard in ps.layout.shards:
        one, other = [seen for seen in everything if seen[0] == shard]
        assert one == other
        # what the head had taken before it knew counts, in both
        assert one[1].get(3, 0) == (0 if shard == early else 3)


def _discard(comm: Any) -> None:
    """Take what was sent to a server that no longer reads, so that the communicator ends clean."""
    while comm.Iprobe():
        status = MPI.Status()
        comm.Probe(status=status)
        comm.Recv([np.empty(status.Get_count(MPI.BYTE), np.uint8), MPI.BYTE], status.Get_source(), status.Get_tag())


@on_ranks(4)
def test_bad_requests_are_refused_on_the_rank_that_makes_them(comm: Any) -> None:
    ps = ParameterServer(comm, [Table("w", 10)], servers=1)

    def work(worker: Worker) -> list[str]:
        errors = []
        for wrong in (
            lambda: worker.pull("v"),
            lambda: worker.pull("w", np.array([10])),
            lambda: worker.pull("w", out=np.empty(9)),
            lambda: worker.push("w", np.ones(9)),
            lambda: worker.push("w", np.ones(3), np.array([1, 2])),
        ):
            try:
                wrong()
            except UsageError as error:
                errors.append(str(error))
        return errors

    errors = ps.run(work)
    assert errors is None or len(errors) == 5


@on_ranks(4)
def test_workers_may_leave_a_server_that_has_not_heard_of_a_death(comm: Any) -> None:
    """The news of a server's death can be late: workers know, its replica does not, and all of them leave."""
    ps = ParameterServer(
        comm, [Table("w", 3, update=Add())], servers=2, replicas=2, consistency=Consistency("bsp"),
        on_failure=lambda failure: set(),
    )  # fmt: skip
    dead = ps.layout.servers[0]  # it takes part in nothing

    def add(worker: Worker) -> np.ndarray:
        worker.channel.drop(dead)
        for _ in range(3):
            worker.push("w", np.ones(3), closes=True)
        return worker.pull("w")

    final = ps.run(add) if comm.Get_rank() != dead else None
    comm.Barrier()
    _discard(comm)
    if final is not None:
        assert final.tolist() == [6.0, 6.0, 6.0]
