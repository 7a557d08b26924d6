"""Derived datatypes: what a message carries and where it lands is what MPI itself does, for any datatype."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mpi4py import MPI

from emulator.comm.buffers import Incoming, is_dense, outgoing
from emulator.comm.refused import NotEmulated
from tests.emulator.same import Cases, same_as_mpi
from tests.ranks import on_ranks

NAMED = [MPI.BYTE, MPI.SHORT, MPI.INT, MPI.DOUBLE, MPI.FLOAT_INT, MPI.DOUBLE_INT]
_MIDDLE, _LENGTH = 20_000, 40_000
small = st.integers(0, 3)
places = st.lists(st.integers(-6, 12), min_size=1, max_size=3)


@st.composite
def datatypes(draw: Any, depth: int = 2) -> MPI.Datatype:
    """Any constructor over any other, with negative, zero and overlapping displacements."""
    if depth == 0:
        return draw(st.sampled_from(NAMED))
    inner = draw(datatypes(depth - 1))
    count = draw(st.integers(1, 3))
    kind = draw(st.sampled_from(["plain", "contiguous", "vector", "hvector", "indexed", "hindexed", "block", "hblock",
                                 "struct", "subarray", "darray", "resized", "dup"]))  # fmt: skip
    if kind == "contiguous":
        return inner.Create_contiguous(count)
    if kind in ("vector", "hvector"):
        return getattr(inner, f"Create_{kind}")(count, draw(st.integers(1, 3)), draw(st.integers(-4, 30)))
    if kind in ("indexed", "hindexed", "struct"):
        where = draw(places)
        lengths = draw(st.lists(small, min_size=len(where), max_size=len(where)))
        if kind == "struct":
            parts = [draw(datatypes(0)) for _ in where[1:]]
            return MPI.Datatype.Create_struct(lengths, [8 * place for place in where], [inner, *parts])
        return getattr(inner, f"Create_{kind}")(lengths, where)
    if kind in ("block", "hblock"):
        return getattr(inner, "Create_indexed_block" if kind == "block" else "Create_hindexed_block")(
            draw(st.integers(1, 3)), draw(places)
        )
    order = draw(st.sampled_from([MPI.ORDER_C, MPI.ORDER_F]))
    if kind == "subarray":
        return inner.Create_subarray([4, 3], [draw(st.integers(1, 3)), 2], [1, draw(st.integers(0, 1))], order)
    if kind == "darray":
        assume(inner.Get_size())  # Open MPI makes no darray of an empty datatype
        return inner.Create_darray(
            4, draw(st.integers(0, 3)), [5, 4], [MPI.DISTRIBUTE_CYCLIC, MPI.DISTRIBUTE_BLOCK],
            [MPI.DISTRIBUTE_DFLT_DARG] * 2, [2, 2], order,
        )  # fmt: skip
    if kind == "resized":
        return inner.Create_resized(draw(st.integers(-16, 16)), draw(st.integers(-24, 64)))
    return inner.Dup() if kind == "dup" else inner


def moved_by_mpi(out: Any, into: Any) -> None:
    request = MPI.COMM_SELF.Irecv(into, 0)
    MPI.COMM_SELF.Send(out, 0)
    request.Wait()


def disjoint(datatype: MPI.Datatype, count: int) -> bool:
    """Whether no byte is named twice, as a receive needs."""
    where = np.arange(_LENGTH, dtype="u2")
    packed = [bytearray(count * datatype.Get_size()) for _ in range(2)]
    for part, box in enumerate(packed):
        moved_by_mpi([(where >> (8 * part)).astype("u1")[_MIDDLE:], count, datatype], box)
    return len(set(zip(*packed, strict=True))) == count * datatype.Get_size()


@settings(max_examples=300, deadline=None)
@given(datatypes(), st.integers(1, 3), st.integers(0, 40))
def test_any_datatype_moves_as_with_mpi(datatype: MPI.Datatype, count: int, missing: int) -> None:
    """Sends and receives, whole and short ones; the memory begins in the middle, for negative displacements."""
    whole = datatype.Dup().Commit()
    memory = np.random.default_rng(1).integers(0, 256, _LENGTH).astype("u1")
    size = count * whole.Get_size()
    expected = bytearray(size)
    moved_by_mpi([memory[_MIDDLE:], count, whole], expected)
    data = outgoing([memory[_MIDDLE:], count, whole])
    assert (bytes(data), len(data)) == (expected, size)
    if disjoint(whole, count):
        short = expected[: max(0, size - missing)]
        boxes = [np.zeros(_LENGTH, "u1") for _ in range(2)]
        moved_by_mpi(short, [boxes[0][_MIDDLE:], count, whole])
        into = Incoming([boxes[1][_MIDDLE:], count, whole])
        whole.Free()  # MPI allows it while the receive is pending
        into.view[: len(short)] = short
        into.finish(len(short))
        # Of a basic element that did not arrive whole MPI says nothing: Open MPI leaves it, here its bytes are there.
        assert (boxes[0] != boxes[1]).sum() < (8 if missing else 1)


def test_a_permutation_is_not_dense() -> None:
    """It fills its extent exactly; so do its duplicates, and a contiguous datatype of it."""
    transpose = transposed(3)
    assert transpose.Get_extent() == (0, transpose.Get_size())
    for datatype in (transpose, transpose.Dup(), transpose.Create_contiguous(2)):
        assert not is_dense(datatype)
    for datatype in (MPI.INT.Dup(), MPI.INT.Create_contiguous(3).Create_contiguous(2)):
        assert is_dense(datatype)


def transposed(n: int) -> MPI.Datatype:
    """A matrix of n x n doubles, column by column."""
    column = MPI.DOUBLE.Create_vector(n, 1, n)
    return column.Create_hvector(n, 1, 8).Commit()


cases = Cases()


@cases
def transposes(comm: Any) -> Any:
    """One rank's rows are the other's columns, in messages, persistent ones and collectives."""
    peer, datatype = comm.rank ^ 1, transposed(4)
    out = np.arange(16.0) + 100 * comm.rank
    seen = []

    def note(box: Any) -> None:
        seen.append(box.tolist())

    box = np.zeros(16)
    comm.Sendrecv([out, 1, datatype], peer, 0, box, peer, 0)
    note(box)
    comm.Sendrecv(out, peer, 0, [box, 1, datatype], peer, 0)
    note(box)
    requests = [comm.Recv_init([box, 1, datatype], peer, 1), comm.Send_init(out, peer, 1)]
    for _ in range(2):
        MPI.Prequest.Startall(requests)
        MPI.Request.Waitall(requests)
        note(box)
        out += 1
    for request in requests:
        request.Free()
    comm.Bcast([out, 1, datatype] if comm.rank == 0 else out, 0)
    note(out)
    whole = np.zeros(16 * comm.size)
    comm.Allgather([out, 1, datatype], [whole, 1, datatype])
    note(whole)
    comm.Alltoall([whole, 1, datatype], whole2 := np.zeros_like(whole))
    note(whole2)
    return seen


@cases
def vectors_of_a_permutation(comm: Any) -> Any:
    """Gatherv and its relatives, with a count and a place for each rank, also in place."""
    datatype, p = transposed(3), comm.size
    counts, places = [1 + rank % 2 for rank in range(p)], [2 * rank for rank in range(p)]
    mine = np.arange(9.0 * counts[comm.rank]) + 1000 * comm.rank
    seen = []
    whole = np.zeros(9 * 2 * p)
    comm.Gatherv([mine, counts[comm.rank], datatype], [whole, counts, places, datatype], 1)
    seen.append(whole.tolist() if comm.rank == 1 else None)
    comm.Allgatherv(mine, [whole, (counts, places), datatype])
    seen.append(whole.tolist())
    comm.Allgatherv(MPI.IN_PLACE, [whole, (counts, places), datatype])
    seen.append(whole.tolist())
    comm.Scatterv([whole, counts, places, datatype], mine, 0)
    seen.append(mine.tolist())
    ones = np.zeros(9 * p)
    comm.Alltoallv([whole, [1] * p, places, datatype], [ones, 1, datatype])
    seen.append(ones.tolist())
    return seen


@on_ranks(2, function=cases)
def test_the_same_as_mpi(comm: MPI.Intracomm, function: Any) -> None:
    same_as_mpi(comm, function)


def error_of(call: Any) -> tuple[type, str]:
    try:
        call()
    except Exception as error:
        return type(error), str(error)
    return type(None), ""


@pytest.mark.parametrize("code", [">i4", ">f8", ">c16", "S3", "U2", "M8[s]", "O", "V4", "i4,f8", "f2", "?", ">i1"])
def test_arrays_that_mpi_has_no_datatype_for_are_refused_as_mpi4py_does(code: str) -> None:
    array = np.zeros(4, code)
    for spec in (array, [array, 4], [array, None], [array, (2, 1)]):
        native = error_of(lambda spec=spec: MPI.COMM_SELF.Isend(spec, 0).Cancel())
        assert error_of(lambda spec=spec: outgoing(spec)) == native
        assert error_of(lambda spec=spec: Incoming(spec)) == native


def test_memory_that_is_only_named_by_address_is_refused() -> None:
    for spec in ([MPI.BOTTOM, 1, MPI.INT], MPI.BOTTOM):
        with pytest.raises((NotEmulated, TypeError)):
            outgoing(spec)
