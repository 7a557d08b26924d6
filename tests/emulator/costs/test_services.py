"""Parameter servers without a barrier: closed forms where there are some, and the program itself on simulated ranks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import emulator
from emulator.costs.message_paths import alike
from emulator.costs.services import Call, loose
from emulator.network.files import parse
from primitives.parameter_server import Add, Consistency, ParameterServer, Table, Worker
from tests.simulated import on_simulated_ranks

ALPHA, BETA = 1e-3, 1e-7
HEADER, WIDTH, ROWS, APART = 56, 64, 40, 256  # bytes; bytes of a row; rows of a pull and between them
HOME = parse('[link]\nlatency = "15 ms"\nbandwidth = "20 Mbit/s"\n')


def _mean(ends: np.ndarray, skipped: int) -> float:
    done = ends.mean(axis=1)
    return float(done[-1] - done[skipped - 1]) / (len(done) - skipped)


@pytest.mark.parametrize("servers", [1, 3])
def test_one_worker_computes_and_waits_for_its_own_round_trip(servers: int) -> None:
    call = Call(100, 2000, 3000)
    ends = loose(np.full((20, 1), 5e-3), servers, [call], alike(ALPHA, BETA))
    # Its pushes, one after another, and the requests behind them leave its card; the answers meet at it.
    trip = 2 * ALPHA + (servers * (3000 + 100) - 100) * BETA + 100 * BETA + 2000 * BETA
    assert trip <= _mean(ends, 5) - 5e-3 <= trip + servers * 2000 * BETA


def test_a_card_that_is_always_busy_sets_the_time() -> None:
    ends = loose(np.full((30, 12), 1e-3), 1, [Call(0, 50_000, 1000)], alike(ALPHA, BETA))
    assert _mean(ends, 10) == pytest.approx(12 * 50_000 * BETA, rel=0.01)


def test_without_messages_that_take_time_a_bound_keeps_the_fastest_near_the_slowest() -> None:
    computes = np.tile([1.0, 3.0], (20, 1))
    free = loose(computes, 1, [Call(0, 0, 0)], alike(0.0, 0.0))
    assert free[-1].tolist() == [20.0, 60.0]
    bounded = loose(computes, 2, [Call(0, 0, 0)], alike(0.0, 0.0), bound=2)
    assert bounded[-1].tolist() == [3.0 * 17 + 1, 60.0]  # its last step begins when the slowest has closed 17
    assert loose(computes, 1, [Call(0, 0, 0)], alike(0.0, 0.0), bound=0)[-1].tolist() == [58.0, 60.0]


@on_simulated_ranks(6, net=HOME, bound=[1, 8, None], tables=[1, 2])
def test_it_is_the_program_s_own_time(comm: Any, bound: int | None, tables: int) -> None:
    rng = np.random.default_rng(7)
    computes = 20e-3 * rng.lognormal(0.0, 0.3, (40, 5))
    rule = Consistency("async") if bound is None else Consistency("ssp", bound)
    stored = [Table(f"t{number}", ROWS * APART, WIDTH // 8, update=Add()) for number in range(tables)]
    service = ParameterServer(comm, stored, servers=1, consistency=rule)

    def work(worker: Worker) -> list[float]:
        ends = []
        for step, amount in enumerate(computes[:, worker.rank - 1].tolist()):
            keys = np.arange(ROWS) * APART + step * 5 + worker.rank  # no list of keys comes twice
            rows = [worker.pull(table.name, keys) for table in stored]
            emulator.compute(comm, amount)
            for number, table in enumerate(stored):
                worker.push(table.name, np.ones_like(rows[number]), keys, closes=number == tables - 1)
            ends.append(emulator.now(comm))
        return ends

    found = service.run(work)
    gathered = [ends for ends in comm.allgather(found) if ends]
    call = Call(HEADER + 4 * ROWS, HEADER + WIDTH * ROWS, HEADER + (WIDTH + 4) * ROWS)
    ways = alike(15e-3, 4e-7)
    expected = loose(computes, 1, [call] * tables, ways, math.inf if bound is None else bound)
    assert _mean(np.array(gathered).T, 5) == pytest.approx(_mean(expected, 5), rel=0.02)
