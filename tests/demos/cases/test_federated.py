"""The hospitals: their rows, their rounds beside one process, and that no row leaves its rank."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from demos._lib.cases import hospitals
from demos._lib.cases.hospital_rounds import Settings, admit, by_gossip, by_server, one_process
from emulator.errors import UsageError
from tests.ranks import on_ranks
from tests.simulated import on_simulated_ranks

AWAY = {2: range(1, 4), 3: range(2, 6)}


def _parts(count: int) -> list[hospitals.Rows]:
    parts = [hospitals.rows(one) for one in hospitals.split(count, 1)]
    moments = np.sum([part.moments() for part in parts], axis=0)
    return [part.standardised(moments) for part in parts]


@on_simulated_ranks(5, net="wan", rule=["mean", "median"], liar=[None, 1])
def test_by_server_and_by_gossip_the_model_is_that_of_one_process(comm: Any, rule: str, liar: int | None) -> None:
    settings = Settings(rule, 8, 3, 2, liar, AWAY)
    own = admit(comm, hospitals.rows(hospitals.split(5, 1)[comm.Get_rank()]))
    expected, each = one_process(_parts(5), settings)
    member = by_server(comm, own, settings)
    assert np.allclose(member.model, expected, rtol=0, atol=1e-9)
    assert np.allclose(by_gossip(comm, own, settings), each[comm.Get_rank()], rtol=0, atol=1e-9)
    assert member.servers == [4, 1, 2]  # 3 and 2 are away when it would be their turn, 2 is back for the third


@contextmanager
def _tapped() -> Iterator[list[bytes]]:
    """What this rank hands to the network, whatever the algorithm."""
    from emulator.comm.communicator import EmulatedComm

    sent: list[bytes] = []

    def tap(name: str) -> Any:
        method = getattr(EmulatedComm, name)

        def send(self: Any, buf: Any, *rest: Any, **named: Any) -> Any:
            sent.append(np.asarray(buf[0] if isinstance(buf, list | tuple) else buf).tobytes())
            return method(self, buf, *rest, **named)

        return send

    with pytest.MonkeyPatch.context() as patch:
        for name in ("Send", "Isend", "Ssend", "Issend", "Sendrecv"):
            if hasattr(EmulatedComm, name):
                patch.setattr(EmulatedComm, name, tap(name))
        yield sent


@on_ranks(5, net="wan")
def test_no_patient_s_row_leaves_its_hospital(comm: Any) -> None:
    from emulator import carrier
    from emulator.carrier import Instrument

    class Counted(Instrument):
        count = size = 0

        def sent(self, source: int, destination: int, tag: int, size: int, *times: float) -> None:
            self.count, self.size = self.count + 1, self.size + size

    counted = Counted()
    carrier.of(comm).instruments.append(counted)
    raw = hospitals.rows(hospitals.split(5, 1)[comm.Get_rank()])
    with _tapped() as sent:
        own = admit(comm, raw)
        by_server(comm, own, Settings("median", 8, 2, 3))
        by_gossip(comm, own, Settings("mean", 8, 2, 3))
    carrier.of(comm).instruments.remove(counted)
    assert counted.size == sum(map(len, sent)), "the tap saw all that was sent"
    assert counted.count == len(sent) > 0
    # A message has one model, or the sums over all rows; a row is 30 or 31 numbers, a part of one would be 4 or more.
    pieces = [row[at : at + 4].tobytes() for rows in (raw, own) for row in np.vstack([rows.columns, rows.test_columns])
              for at in (0, 10, 20)]  # fmt: skip
    assert not [piece for piece in pieces if any(piece in message for message in sent)]
    assert max(map(len, sent)) <= 8 * 61
    fewer = hospitals.Rows(own.columns[:4], own.labels[:4], own.test_columns, own.test_labels)
    before = counted.size
    carrier.of(comm).instruments.append(counted)
    by_server(comm, own, Settings("median", 8, 2, 3))
    full, before = counted.size - before, counted.size
    by_server(comm, fewer, Settings("median", 8, 2, 3))
    carrier.of(comm).instruments.remove(counted)
    assert counted.size - before == full, "the traffic does not depend on how many rows there are"


def test_the_split_is_complete_unequal_and_refuses_too_many() -> None:
    parts = hospitals.split(8, 0)
    assert sorted(np.concatenate(parts).tolist()) == list(range(569))
    sizes = [len(part) for part in parts]
    assert max(sizes) > 2 * min(sizes) >= 2 * hospitals.FEWEST
    malignant = [hospitals.table()[1][part].mean() for part in parts]
    assert max(malignant) > min(malignant) + 0.3
    with pytest.raises(UsageError, match="at most 35 hospitals, got 40"):
        hospitals.split(40, 0)


def test_training_learns_and_the_gradient_is_that_of_the_loss() -> None:
    whole = hospitals.pooled(_parts(3))
    model = hospitals.train(np.zeros(hospitals.FEATURES), whole, 200, 0.5)
    good, count = hospitals.right(model, whole)
    assert good / count > 0.95
    assert np.linalg.norm(hospitals.gradient(model, whole)) < 0.1 * np.linalg.norm(
        hospitals.gradient(np.zeros(hospitals.FEATURES), whole)
    )


def test_one_liar_ruins_a_mean_and_not_a_median() -> None:
    parts = _parts(6)
    whole = hospitals.pooled(parts)
    shares = {}
    for rule in ("mean", "median"):
        model, _ = one_process(parts, Settings(rule, liar=1))
        good, count = hospitals.right(model, whole)
        shares[rule] = good / count
    assert shares["median"] > 0.9 > shares["mean"]


def test_the_drill_replays_what_took_place() -> None:
    from demos.cases import federated
    from faults.drill.request import Request

    job = Request("hospitals", 4, ["kill 3 @ step 3"], options=federated.DRILL.options).spec()
    model = np.zeros(hospitals.FEATURES)
    parts = [hospitals.rows(one) for one in hospitals.split(4, job.seed)]
    moments = np.sum([part.moments() for part in parts], axis=0)
    parts = [part.standardised(moments) for part in parts]
    for answered in ([0, 1, 2], [0, 1]):  # rank 3 led one round and died in the next, then rank 2 led one
        given = [Settings().answer(rank, parts[rank], model, 0) for rank in answered]
        weights = [one[1] for one in given if one]
        model = np.average([one[0] for one in given if one], axis=0, weights=weights)
    survivor = {"place": 0, "servers": [3, 2], "led": [], "known": [1, 1], "model": model.tolist()}
    leader = survivor | {"place": 2, "led": [[0, 1]]}
    assert federated.DRILL.matches(job, None, [survivor, leader])[0]  # type: ignore[arg-type]
    wrong = survivor | {"model": (model + 1e-6).tolist()}
    assert not federated.DRILL.matches(job, None, [wrong, leader])[0]  # type: ignore[arg-type]
