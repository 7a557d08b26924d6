"""Letting a process in: the newcomer may be dead again before it is welcomed, and nobody else falls over it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from mpi4py import MPI

from emulator import policies
from faults.agree import survivor_group
from faults.agree.survivor_group import Decision
from faults.inject.drill_context import DrillContext
from faults.recover import job_processes
from faults.recover.replacements import admission
from faults.recover.replacements.filling import Filling


class Lane:
    """Where a newcomer is welcomed; it may be dead."""

    def __init__(self, dies: bool) -> None:
        self.dies, self.revoked, self.said = dies, False, 0

    def Send(self, text: object, rank: int, tag: int) -> None:
        if self.dies:
            raise MPI.Exception(MPI.ERR_PROC_FAILED)
        self.said += 1

    def Revoke(self) -> None:
        self.revoked = True


@pytest.mark.parametrize("dies", [False, True])
def test_a_newcomer_that_dies_before_its_welcome_is_found_when_it_gets_the_state(monkeypatch, dies: bool) -> None:
    work_comm = Lane(dies)
    fresh = SimpleNamespace(rank=0, size=3, work_comm=work_comm, comms=[], revoke=work_comm.Revoke, failed=set)
    old = SimpleNamespace(
        agree_comm=None, alive=(0, 2), agree=lambda ok: Decision(True, (0, 2), 1), renumbered=lambda newer: [0, -1, 1],
        rank_in=lambda members, process: 0,
    )  # fmt: skip
    survivors = SimpleNamespace(Get_group=lambda: None, Get_rank=lambda: 1, Get_size=lambda: 2)
    everyone = SimpleNamespace(Get_size=lambda: 3)
    monkeypatch.setattr(survivor_group, "shrink", lambda base: survivors)
    monkeypatch.setattr(admission, "let_in", lambda comm, starter, newcomers, drill: everyone)
    monkeypatch.setattr(job_processes, "SurvivorGroup", lambda comm, work_comms, **options: fresh)
    mine = job_processes.JobProcesses.__new__(job_processes.JobProcesses)
    mine.group, mine.wanted, mine.fresh, mine._drill = old, {0, 1, 2}, set(), DrillContext()
    mine.policy, mine.filling = policies.of("respawn"), Filling(mine._drill)
    mine.filling.left = 2
    mine.placement = job_processes.Placement({0: 0, 2: 2})
    assert mine._renew([1]) is None
    assert (mine.placement.places, mine.fresh) == ({0: 0, 1: 2, 2: 1}, {1})
    assert work_comm.revoked == dies
    assert work_comm.said == (not dies)
    assert mine._message()["spawns_left"] == 2
