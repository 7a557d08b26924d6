"""From the journals of a job to what each recovery cost, phase by phase.

    death ─ detect ─► first notice ─ agree ─► last agreement ─ rebuild ─► ─ restore ─► ─ replay ─► step complete

An episode begins with a death and ends when the step that was being done has been completed by everybody. Further
deaths before that belong to it, and so does that of a spare before it: nobody misses one that waits until it is needed,
or until all agree for another reason. The phases lie end to end on one clock, so they add up to the episode.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from faults.plan.kinds import KINDS

_NEVER = float("inf")
_ENDS = {"detect": "noticed", "agree": "agreed", "rebuild": "rebuilt", "restore": "restored"}

Record = dict[str, Any]


@dataclass(frozen=True)
class Death:
    """A fault that took a rank away: when, whom (member and place), by which fault line and event of it, and whether
    it was idle."""

    at: float
    member: int
    place: int
    text: str
    attempt: int = 0
    waiting: bool = False
    event: str = ""


@dataclass
class Episode:
    """One recovery."""

    deaths: list[Death]
    began: float
    ended: float
    step: int
    phases: dict[str, float]
    lost_steps: int
    coordinator: int | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return self.ended - self.began


def struck(records: Sequence[Record]) -> dict[str, float]:
    """Events that fired, and when: those of a kernel timer only if the process was still there at the instant."""
    return {event: r["due"] for event, r in _met(records).items()}


def _met(records: Sequence[Record]) -> dict[str, Record]:
    """The fault record of each event that struck: whoever holds a place, or the next launch, sets anew what the one
    before did not live to see, so the last to set it met it."""
    gone = {(r["member"], r["attempt"]): r["at"] for r in records if r["what"] == "left"}
    for r in records:  # who is dead meets nothing more
        if r["what"] == "fault" and KINDS[r["kind"]].final:
            process = r["member"], r["attempt"]
            gone[process] = min(gone.get(process, _NEVER), r["due"])
    over = {r["attempt"]: r["at"] for r in records if r["what"] == "ended"}  # written when all are dead

    def lived_to_see(fault: Record) -> bool:
        happened = fault["at"] >= fault["due"]  # when it was written down: the launcher may have seen it before
        return happened or bool(fault["due"] <= over.get(fault["attempt"], _NEVER))

    return {
        r["event"]: r
        for r in records
        if r["what"] == "fault" and r["due"] <= gone.get((r["member"], r["attempt"]), _NEVER) and lived_to_see(r)
    }


def deaths(records: Sequence[Record]) -> list[Death]:
    """Kills and hangs that fired on a process that never left of its own will."""
    left = {(r["member"], r["attempt"]) for r in records if r["what"] == "left"}
    found = [
        Death(r["due"], r["member"], r["place"], r["text"], r["attempt"], r.get("waiting", False), r["event"])
        for r in _met(records).values()
        if KINDS[r["kind"]].ends and (r["member"], r["attempt"]) not in left
    ]
    return sorted(found, key=lambda death: death.at)


def completed(commit: Record) -> float:
    """When the rank had finished the step; that it is committed can become known later."""
    at: float = commit["done" if "done" in commit else "at"]
    return at


def episodes(records: Sequence[Record]) -> list[Episode]:
    """The recoveries of a job that went through, in order of time."""
    found: list[Episode] = []
    unnoticed: list[Death] = []
    taken = deaths(records)
    for number, death in enumerate(taken):
        if found and death.at < found[-1].ended:
            found[-1].deaths.append(death)
            continue
        first = _notice_of(records, death)
        if first is None:
            continue
        if death.waiting and any(other.at < first["at"] for other in taken[number + 1 :]):
            unnoticed.append(death)
            continue
        episode = _episode(records, death, first)
        if episode is not None:
            episode.deaths[:0] = unnoticed
            found.append(episode)
            unnoticed = []
    return found


def _notice_of(records: Sequence[Record], death: Death) -> Record | None:
    """The first that anybody was told of it; None if the job was over."""
    return next((r for r in records if r["what"] == "noticed" and r["at"] > death.at), None)


def _interrupted(records: Sequence[Record], death: Death, first: Record) -> int:
    """The step that was being done; where ranks are a step apart, that of those behind."""
    told: dict[int, int] = {}
    late = {r["member"] for r in records if r["what"] == "joined" and r["at"] > death.at}
    for r in records:
        if r["what"] == "noticed" and r["at"] > death.at and "step" in r and r["member"] not in late:
            told.setdefault(r["member"], r["step"])
    if told:
        return min(told.values())
    # The launcher, who notices the end of a job, knows no step.
    done = [r["step"] for r in records if r["what"] == "commit" and completed(r) < first["at"]]
    return max(done, default=-1) + 1


def _episode(records: Sequence[Record], death: Death, first: Record) -> Episode | None:
    """The recovery that a death began; None if nothing had to be done again."""
    step = _interrupted(records, death, first)
    ends = [completed(r) for r in records if r["what"] == "commit" and r["step"] == step]
    commits = [at for at in ends if at > death.at]
    if not commits:
        return None
    ended = max(commits)
    within = [r for r in records if death.at < r["at"] <= ended]
    resumed = [r["step"] for r in within if r["what"] in ("restored", "rolled back")]
    return Episode(
        [death],
        death.at,
        ended,
        step,
        _phases(within, death.at, ended),
        lost_steps=max(0, step - min(resumed, default=step)),
        coordinator=next((r["coordinator"] for r in reversed(within) if "coordinator" in r), None),
        notes=_notes(records, within, death),
    )


def _notes(records: Sequence[Record], within: Sequence[Record], death: Death) -> list[str]:
    """What else is worth knowing: checkpoints passed over, who was fenced, who took over from whom."""
    damaged = dict.fromkeys(f"passed over a checkpoint: {r['why']}" for r in within if r["what"] == "damaged")
    fenced = [
        f"rank {r['whom']} was fenced {(r['fenced'] - death.at) * 1e3:.0f} ms after its last sign of life"
        for r in records
        if r["what"] == "fenced" and (r["whom"], r["attempt"]) == (death.member, death.attempt)
    ]
    levels = {"memory": "from the buddy's memory", "disk": "from disk"}
    own = dict.fromkeys(
        f"what ranks alone have: {levels[r['level']]}, as of step {r['step']}" for r in within if r["what"] == "level"
    )
    heirs = [  # who may learn that it is one when the step is complete already
        f"rank {r['member']} took over shard {r['shard']} from rank {r['whom']}"
        for r in records
        if r["what"] == "took over" and (r["whom"], r["attempt"]) == (death.place, death.attempt)
    ]
    return [*damaged, *fenced, *own, *heirs]


def _phases(within: Sequence[Record], began: float, ended: float) -> dict[str, float]:
    """Lengths of the phases: the first notice, then the last rank's end of each phase; a phase not met lasts 0."""
    phases, at = {}, began
    for phase, what in _ENDS.items():
        instants = [r["at"] for r in within if r["what"] == what]
        if phase == "detect":
            instants = instants[:1]
        end = max(instants, default=at)
        phases[phase] = end - at
        at = end
    phases["replay"] = ended - at
    return phases


def throughput(records: Sequence[Record], found: Sequence[Episode]) -> dict[str, float | None]:
    """Committed steps per second before the first death and after the last recovery."""
    if not found:
        return {"before": _rate(records, 0.0, float("inf")), "after": None}
    return {
        "before": _rate(records, 0.0, found[0].began),
        "after": _rate(records, found[-1].ended, float("inf")),
    }


def _rate(records: Sequence[Record], first: float, last: float) -> float | None:
    ends: dict[int, float] = {}
    for r in records:
        if r["what"] == "commit" and first <= completed(r) <= last:
            ends[r["step"]] = max(completed(r), ends.get(r["step"], 0.0))
    if len(ends) < 2:
        return None
    return (len(ends) - 1) / (max(ends.values()) - min(ends.values()))
