"""Compute the phases of each recovery from the journals of a job.

    death ─ detect ─► first notice ─ agree ─► last agreement ─ rebuild ─► ─ restore ─► ─ replay ─► step complete

An episode begins with a death and ends when all ranks have completed the interrupted step. Further deaths before that
belong to it, and so does an earlier death of a spare: it is detected only when the spare is needed, or at the next
agreement. The phases lie end to end on one clock, so they add up to the length of the episode.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from emulator.units import format_time
from faults.plan.kinds import KINDS
from faults.record.journal import PHASE_ENDS, What

_NEVER = float("inf")

Record = dict[str, Any]


@dataclass(frozen=True)
class Death:
    """A fault that ended a process: `text` and `event` name the fault, `waiting` marks an idle spare."""

    at: float
    member: int
    place: int
    text: str
    attempt: int = 0
    waiting: bool = False
    event: str = ""
    gone: float = 0.0  # when the process ended: later than `at` of a fault after which it lingers


@dataclass
class Episode:
    """One recovery, from the death to its last phase."""

    deaths: list[Death]
    began: float
    ended: float
    step: int
    phases: dict[str, float]
    lost_steps: int
    coordinator: int | None = None
    notes: list[str] = field(default_factory=list)
    ranks: dict[int, dict[str, float]] = field(default_factory=dict)  # phases by process, of those that took part

    @property
    def seconds(self) -> float:
        return self.ended - self.began

    def to_json(self, origin: float) -> dict[str, Any]:
        """The recovery, with times in seconds since `origin`, as in the result file."""
        shown = ("phases", "lost_steps", "coordinator", "notes")
        deaths = [{"at": death.at - origin, "text": death.text, "place": death.place} for death in self.deaths]
        by_process = self.ranks | {death.member: {} for death in self.deaths if not death.waiting}
        ranks = [{"process": member, "phases": phases} for member, phases in sorted(by_process.items())]
        return {"deaths": deaths} | {name: getattr(self, name) for name in shown} | {"ranks": ranks}


@dataclass(frozen=True)
class Join:
    """New processes that took empty places between two steps, and when.

    Attributes
    ----------
    at : when the coordinator began to start them (s)
    step : the first one that they took part in
    seconds : from then until that step was complete
    stopped_s : for how long the other ranks did no step
    """

    at: float
    step: int
    places: list[int]
    seconds: float
    stopped_s: float

    @property
    def text(self) -> str:
        """A sentence about the join."""
        ranks = ", ".join(map(str, self.places))
        took, stopped = format_time(self.seconds), format_time(self.stopped_s)
        return f"rank {ranks} joined at step {self.step}, {took} after its start: the others stopped {stopped}"


def joins(records: Sequence[Record]) -> list[Join]:
    """List when new processes took empty places between two steps."""
    asked = [r for r in records if r["what"] == What.ADMITS]
    found: list[Join] = []
    before = 0.0
    for number, r in enumerate(asked):
        after = asked[number + 1]["at"] if number + 1 < len(asked) else _NEVER
        came = [one for one in records if one["what"] == What.JOINED and r["at"] < one["at"] < after]
        done = [one for one in records if one["what"] == What.COMMIT and one["step"] == r["first"]]
        finishers = {one["member"] for one in done}
        places = sorted({one["place"] for one in came if one["member"] in finishers})  # without those that died at once
        if places:
            began = next(one["at"] for one in records if one["what"] == What.GROWS and one["at"] > before)
            end = max(map(completed, done))
            ready = [one["at"] for one in records if one["what"] == What.RESTORED and r["at"] < one["at"] <= end]
            found.append(Join(began, r["first"], places, end - began, max(ready) - r["since"]))
            before = r["at"]
    return found


def struck(records: Sequence[Record]) -> dict[str, float]:
    """When each event fired; one by a kernel timer counts only if its process still existed at that instant."""
    return {event: r["due"] for event, r in _met(records).items()}


def _met(records: Sequence[Record]) -> dict[str, Record]:
    """Map the id of each event that fired to its record.

    A successor in a place, or the next launch, arms again the faults that its predecessor died before, so the last
    process to arm one is the one that it hit.
    """
    gone = {(r["member"], r["attempt"]): r["at"] for r in records if r["what"] == What.LEFT}
    for r in records:  # a dead process is hit by nothing more
        if r["what"] == What.FAULT and KINDS[r["kind"]].final and not KINDS[r["kind"]].lingers:
            process = r["member"], r["attempt"]
            gone[process] = min(gone.get(process, _NEVER), r["due"])
    over = {r["attempt"]: r["at"] for r in records if r["what"] == What.ENDED}  # written when all are dead

    def existed_at(fault: Record) -> bool:
        happened = fault["at"] >= fault["due"]  # when it was written down: the launcher may have seen it before
        return happened or bool(fault["due"] <= over.get(fault["attempt"], _NEVER))

    return {
        r["event"]: r
        for r in records
        if r["what"] == What.FAULT and r["due"] <= gone.get((r["member"], r["attempt"]), _NEVER) and existed_at(r)
    }


def deaths(records: Sequence[Record]) -> list[Death]:
    """List kills and hangs that fired at a process that did not leave by itself, in order of time."""
    left = {(r["member"], r["attempt"]) for r in records if r["what"] == What.LEFT}
    departed = {(r["member"], r["attempt"]): r["at"] for r in records if r["what"] == What.DEPARTED}
    found = [
        Death(
            r["due"], r["member"], r["place"], r["text"], r["attempt"], r.get("waiting", False), r["event"],
            departed.get((r["member"], r["attempt"]), _NEVER) if KINDS[r["kind"]].lingers else r["due"],
        )
        for r in _met(records).values()
        if KINDS[r["kind"]].ends and (r["member"], r["attempt"]) not in left
    ]  # fmt: skip
    return sorted(found, key=lambda death: death.at)


def completed(commit: Record) -> float:
    """When the rank had finished the step; it may learn of the commit later."""
    at: float = commit["done" if "done" in commit else "at"]
    return at


def episodes(records: Sequence[Record]) -> list[Episode]:
    """List the completed recoveries of a job in order of time."""
    found: list[Episode] = []
    unnoticed: list[Death] = []
    taken = deaths(records)
    for number, death in enumerate(taken):
        if found and death.at < found[-1].ended:
            found[-1].deaths.append(death)
            continue
        first = next((r for r in records if r["what"] == What.NOTICED and r["at"] > death.at), None)
        if first is None:  # the job was over
            continue
        if death.waiting and any(other.at < first["at"] for other in taken[number + 1 :]):
            unnoticed.append(death)
            continue
        episode = _episode(records, death, first)
        if episode is not None:
            episode.deaths[:0] = unnoticed
            found.append(episode)
            unnoticed = []
    for join in joins(records):
        before = [episode for episode in found if episode.began <= join.at]
        if before:
            before[-1].notes.append(join.text)
    return found


def _interrupted(records: Sequence[Record], death: Death, first: Record) -> int:
    """The step that the death interrupted; the earlier one where ranks are a step apart."""
    told: dict[int, int] = {}
    late = {r["member"] for r in records if r["what"] == What.JOINED and r["at"] > death.at}
    for r in records:
        if r["what"] == What.NOTICED and r["at"] > death.at and "step" in r and r["member"] not in late:
            told.setdefault(r["member"], r["step"])
    if told:
        return min(told.values())
    # The launcher, which notices the end of a job, knows no step.
    done = [r["step"] for r in records if r["what"] == What.COMMIT and completed(r) < first["at"]]
    return max(done, default=-1) + 1


def _episode(records: Sequence[Record], death: Death, first: Record) -> Episode | None:
    """Make the recovery that a death began; None if no step was interrupted."""
    step = _interrupted(records, death, first)
    ends = [completed(r) for r in records if r["what"] == What.COMMIT and r["step"] == step]
    commits = [at for at in ends if at > death.at]
    if not commits:
        return None
    ended = max(commits)
    within = [r for r in records if death.at < r["at"] <= ended]
    resumed = [r["step"] for r in within if r["what"] in (What.RESTORED, What.ROLLED_BACK)]
    return Episode(
        [death],
        death.at,
        ended,
        step,
        _phases(within, death.at, ended),
        lost_steps=max(0, step - min(resumed, default=step)),
        coordinator=next((r["coordinator"] for r in reversed(within) if "coordinator" in r), None),
        notes=_notes(records, within, death),
        ranks=_by_process([r for r in records if r["at"] > death.at], death.at, step),
    )


def _by_process(later: Sequence[Record], began: float, step: int) -> dict[int, dict[str, float]]:
    """The phases of each process that completed the interrupted step after the death, up to its completion."""
    done = {r["member"]: completed(r) for r in later if r["what"] == What.COMMIT and r["step"] == step}
    return {
        member: _phases([r for r in later if r["member"] == member and r["at"] <= ended], began, ended)
        for member, ended in done.items()
        if ended > began
    }


def _notes(records: Sequence[Record], within: Sequence[Record], death: Death) -> list[str]:
    """Further facts: skipped checkpoints, fenced ranks, ranks that took over a shard."""
    damaged = dict.fromkeys(f"skipped a checkpoint: {r['why']}" for r in within if r["what"] == What.DAMAGED)
    fenced = [
        f"rank {r['whom']} was fenced {(r['fenced'] - death.at) * 1e3:.0f} ms after its last sign of life"
        for r in records
        if r["what"] == What.FENCED and (r["whom"], r["attempt"]) == (death.member, death.attempt)
    ]
    levels = {"memory": "from the buddy's memory", "disk": "from disk"}
    own = dict.fromkeys(
        f"private state of ranks: {levels[r['level']]}, as of step {r['step']}"
        for r in within
        if r["what"] == What.LEVEL
    )
    heirs = [  # a rank may learn that it is one when the step is complete already
        f"rank {r['member']} took over shard {r['shard']} from rank {r['whom']}"
        for r in records
        if r["what"] == What.TOOK_OVER and (r["whom"], r["attempt"]) == (death.place, death.attempt)
    ]
    return [*damaged, *fenced, *own, *heirs]


def _phases(within: Sequence[Record], began: float, ended: float) -> dict[str, float]:
    """Seconds of each phase: up to the first notice, then to the last rank's end of each; 0 without records."""
    phases, at = {}, began
    for phase, what in PHASE_ENDS.items():
        instants = [r["at"] for r in within if r["what"] == what]
        if what == What.NOTICED:
            instants = instants[:1]
        end = ended if what == What.COMMIT else max(instants, default=at)
        phases[phase] = end - at
        at = end
    return phases


def throughput(records: Sequence[Record], found: Sequence[Episode]) -> dict[str, float | None]:
    """Committed steps per second before the first death and after the last recovery."""
    began, ended = (found[0].began, found[-1].ended) if found else (_NEVER, _NEVER)
    return {"before": _rate(records, 0.0, began), "after": _rate(records, ended, _NEVER)}


def _rate(records: Sequence[Record], first: float, last: float) -> float | None:
    ends: dict[int, float] = {}
    for r in records:
        if r["what"] == What.COMMIT and first <= completed(r) <= last:
            ends[r["step"]] = max(completed(r), ends.get(r["step"], 0.0))
    if len(ends) < 2:
        return None
    return (len(ends) - 1) / (max(ends.values()) - min(ends.values()))
