"""Data-parallel training with a ring all-reduce: every rank holds the whole model and computes some shards."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from mpi4py import MPI

from faults.drill.job_spec import JobSpec
from faults.drill.training import DATA, REDUCTIONS, State, Training, digest
from faults.inject.drill_context import DrillContext
from faults.inject.network_changes import job_comm
from faults.patterns import work
from faults.recover import Recovering, recovering
from primitives.collectives.ring import AllGather, AllReduce

if TYPE_CHECKING:
    from faults.checkpoint import Store
    from faults.recover.restart import Restarting


class RingTraining:
    """The training on one rank.

    Options of the job: ``reduction`` (`faults.drill.training.REDUCTIONS`), ``shards``, ``agree``, steps between
    agreements, and ``ballast``, bytes that are all-reduced beside the gradient and checked, to make a message as long
    as one likes. To make steps as long as one likes: ``declared_s``, seconds of work of a whole batch that the ranks
    share and sleep through, as if each had a core to itself; ``grip_s``, seconds that every rank computes without a
    pause.
    """

    def __init__(self, spec: JobSpec, data: np.ndarray, drill: DrillContext | None = None) -> None:
        self.drill = drill or DrillContext()
        self.training = Training(data, shards=spec.options["shards"], seed=spec.seed)
        self.reduction = REDUCTIONS[spec.options["reduction"]]
        self.state: State = self.training.begin() | {"losses": np.zeros(spec.steps)}
        self.own: State = work.own_state(spec.options.get("own", 0))
        self._ballast = spec.options.get("ballast", 0) // 8
        self._declared_s = spec.options.get("declared_s", 0.0)
        self._grip_s = spec.options.get("grip_s", 0.0)
        self._plan: AllReduce | AllGather | None = None
        self._comm: MPI.Intracomm | None = None
        self.wrong = 0

    def step(self, comm: MPI.Intracomm, step: int) -> None:
        """Compute the gradients of this rank's shards, all-reduce them, apply the sum."""
        if comm is not self._comm:
            self._lay_out(comm)
        rank, size = comm.Get_rank(), comm.Get_size()
        own = self.training.own(rank, size)
        with self.drill.computing(self._declared_s * len(own) / self.training.shards):
            parts = self.training.gradients(self.state["weights"], step, own)
            if self._grip_s:
                work.grip(self._grip_s)
        self.state["losses"][step] = self.training.apply(self.state, self._total(parts, own))

    def _lay_out(self, comm: MPI.Intracomm) -> None:
        """Prepare buffers and persistent requests for a new communicator."""
        self._comm = comm
        length = self.training.parameters + 1
        if self.reduction.gathers:
            self._rows = np.zeros((self.training.shards, length))
            cuts = [self.training.own(rank, comm.Get_size()) for rank in range(comm.Get_size())]
            blocks = [self._rows[cut.start : cut.stop].reshape(-1) for cut in cuts]
            self._plan = AllGather(comm, blocks)
            return
        self._buffer = np.zeros(length + self._ballast, self.reduction.dtype)
        self._plan = AllReduce(comm, self._buffer, self._buffer, np.add)

    def _total(self, parts: np.ndarray, own: range) -> np.ndarray:
        assert self._plan is not None
        if self.reduction.gathers:
            self._rows[own.start : own.stop] = parts
            self._plan.run()
            return np.add.reduce(self._rows, axis=0)
        length = self.training.parameters + 1
        self._buffer[:length] = np.add.reduce(self.reduction.encode(parts)) if own else 0
        self._buffer[length:] = len(own)
        self._plan.run()
        self.wrong += int((self._buffer[length:] != self.training.shards).sum())
        return self.reduction.decode(self._buffer[:length])


def run(spec: JobSpec, folder: Path, tools: DrillContext) -> dict[str, Any]:
    """Train to the end under the job's policy."""
    learner = RingTraining(spec, np.load(folder / DATA), tools)
    with _session(spec, folder, learner, tools) as job:
        while job.next(spec.steps):
            with job.attempt():
                learner.step(job.comm, job.step)
                if job.place is not None:
                    work.own_step(learner.own, job.place, job.step)
    return {
        "digest": digest(job.committed),
        "losses": job.committed["losses"].tolist(),
        "steps": job.step,
        "place": job.place,
        "recoveries": job.recoveries,
        "own": digest(learner.own),
        "wrong": learner.wrong,
    }


def _session(spec: JobSpec, folder: Path, learner: RingTraining, tools: DrillContext) -> Recovering | Restarting:
    """Make the step loop of the job's policy, with the checkpoints that it needs."""
    wanted, state = spec.checkpoint, learner.state
    store = _store(spec, folder, tools) if spec.on_disk else None
    if not spec.policy.relaunches:
        kept = None
        if wanted["levels"]:
            from faults.recover.multilevel import Levels

            kept = Levels(learner.own, store, wanted["every"])
        return recovering(
            job_comm(spec, tools),
            state,
            policy=spec.recovery,
            spares=spec.spares,
            drill=tools,
            levels=kept,
            every=spec.options["agree"],
            checksum=spec.options["checksum"],
        )
    from faults.recover.restart import Restarting  # a respawned process starts sooner without it

    assert store is not None
    return Restarting(job_comm(spec, tools), state, store, wanted["every"], wanted["mtbf_s"], tools)


def _store(spec: JobSpec, folder: Path, tools: DrillContext) -> Store:
    """Make the store of checkpoints on disk, and register the faults that damage it."""
    from faults.checkpoint import Store

    wanted = spec.checkpoint
    store = Store(
        wanted["folder"] or folder / "checkpoints",
        spec.name,
        wanted["keep"],
        wanted["background"],
        tools.platform.clock,
    )
    if tools.injector is not None:
        from faults.inject import checkpoint_faults

        tools.injector.handle(checkpoint_faults.handlers(store))
    return store
