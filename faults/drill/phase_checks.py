"""Check that the phases of a recovery are consistent; their sum proves little, because they lie end to end.

    sum     the phases, from the survivors' journals, add up to the time from the instant of death on the status board
            to the last survivor's own time stamp of having finished the interrupted step
    chain   each survivor went through every phase of its policy, and recorded them in that order
    cause   no rank knows the outcome of the agreement before the last rank that met an error has met it
    frame   all of it happened while the launcher saw the job run
    need    no rank rebuilt the job more often than a rank died, joined, or found a message spoiled

A clock that is off, a missing record, and a record in the wrong order each break one of these.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from operator import itemgetter

from faults.drill.timeline import Episode, Record, completed, deaths
from faults.launch.supervise import Finished
from faults.record.journal import What

_ROUNDING_S = 1e-6
# The order in which a survivor records the phases, as regular expressions over these letters.
_LETTERS = {What.NOTICED: "n", What.AGREED: "a", What.REBUILT: "b", What.RESTORED: "s"}
_OF_A_STEP = {*_LETTERS, What.COMMIT}
_REPAIR, _AGAIN = r"(n((an*)+b)+s)+", r"bs"
_AROUND = r"b?(nb)*n?"  # not in lockstep: a further death, and the end, may fall between n and b
_CUT_SHORT = r"(n((an*)+b?)*)?"  # the repair of a further death, which goes on after the episode
_UNDER_WAY = r"(n*((an*)*b)?((an*)+b)*s)?"  # the rest of a repair in which processes joined, as the death struck
_GIVEN = "s"  # a rank that joins is given the state; a further death then interrupts it like the others


def check(finished: Finished, found: Sequence[Episode]) -> tuple[bool, str]:
    """Check all of these rules for every recovery; returns whether they hold, and the first violation if not."""
    if why := _out_of_order(finished.records) or _needless(finished):
        return False, why
    for episode in found:
        if not finished.began <= episode.began <= episode.ended <= finished.ended:
            return False, "a recovery lies outside of the time in which the launcher saw the job run"
        if why := _sum(finished, episode) or _chain(finished, episode) or _cause(finished, episode):
            return False, why
    return True, "add up to the time from death to the last survivor's stamp, in order on every rank"


def _out_of_order(records: Sequence[Record]) -> str:
    """Find a rank whose records are in another order in its file than by time: its clock went back."""
    last: dict[tuple[int, int], Record] = {}
    for r in records:
        if r["what"] in _OF_A_STEP:
            before = last.get((r["member"], r["attempt"]), r)
            if before.get("line", 0) > r.get("line", 0):
                return f"rank {r['member']} wrote {r['what']} before {before['what']}, with a later time"
            last[r["member"], r["attempt"]] = r
    return ""


def _needless(finished: Finished) -> str:
    """Find a repair without a death; with detection among ranks, a refuted suspicion may cause one."""
    spec = finished.spec
    if not spec.policy.repairs or spec.failure_detector.among_ranks:
        return ""
    rebuilt = Counter(r["member"] for r in finished.records if r["what"] == What.REBUILT)
    died = len(deaths(finished.records))
    # A rank that waited too long for an agreement may have revoked its lane, which causes one more repair.
    spoiled = len({lane for r in finished.records for lane in r.get("spoiled", ())})
    joins = sum(r["what"] == What.ADMITS for r in finished.records)
    flips = sum(event.kind.spoils_messages for event in spec.events) if spec.options.get("checksum") else 0
    for who, times in rebuilt.most_common(1):
        if times > died + spoiled + joins + flips:
            return f"rank {who} rebuilt the job {times} times after {died} deaths"
    return ""


def _sum(finished: Finished, episode: Episode) -> str:
    first = next(death for death in episode.deaths if death.at == episode.began)
    events = [event.ident for event in finished.spec.events]
    died = finished.fired[events.index(first.event)]
    stamps = [completed(r) for r in finished.records if (r["what"], r.get("step")) == (What.COMMIT, episode.step)]
    total, phases = max(stamps) - died, episode.phases
    if min(phases.values()) < 0:
        return f"{min(phases, key=lambda name: phases[name])} ends before it begins"
    if abs(sum(phases.values()) - total) > _ROUNDING_S:
        return f"they add up to {sum(phases.values()):.6f} s, from death to the last stamp it is {total:.6f} s"
    return ""


def _within(finished: Finished, episode: Episode) -> dict[int, list[Record]]:
    """The phase records of each survivor in the recovery; under restart, of the last launch's ranks."""
    fallen = {(death.member, death.attempt) for death in episode.deaths}
    inside = [r for r in finished.records if episode.began < r["at"] <= episode.ended and r["what"] in _LETTERS]
    if finished.spec.policy.relaunches:
        last = max((r["attempt"] for r in inside if r["what"] == What.RESTORED), default=0)
        inside = [r for r in inside if r["attempt"] == last and r["what"] in (What.REBUILT, What.RESTORED)]
    told: dict[int, list[Record]] = {}
    for r in inside:
        if (r["member"], r["attempt"]) not in fallen:
            told.setdefault(r["member"], []).append(r)
    return told


def _chain(finished: Finished, episode: Episode) -> str:
    told = _within(finished, episode)
    policy = finished.spec.policy
    chain = _AGAIN if policy.relaunches else _AROUND
    if policy.repairs:
        chain = _REPAIR + (_CUT_SHORT if len(episode.deaths) > 1 else "")
        chain = f"{_GIVEN}?({chain})?" if policy.refills else chain
    joining = _joining(finished, episode)
    for member, wrote in told.items():
        if not re.fullmatch(_UNDER_WAY * (member in joining) + chain, "".join(_LETTERS[r["what"]] for r in wrote)):
            return f"rank {member} went through {', '.join(r['what'] for r in wrote)}"
    silent = _finishers(finished, episode) - set(told) if policy.repairs else set()
    return f"rank {min(silent)} was there before and after, and in no phase of the recovery" if silent else ""


def _joining(finished: Finished, episode: Episode) -> set[int]:
    """Members that took part in the repair in which processes join, as the recovery began."""
    if not finished.spec.policy.later:
        return set()
    before = {r["member"]: r["what"] for r in finished.records if r["at"] <= episode.began and r["what"] in _OF_A_STEP}
    return {member for member, what in before.items() if what not in (What.RESTORED, What.COMMIT)}


def _finishers(finished: Finished, episode: Episode) -> set[int]:
    """Members at work before the death that completed the interrupted step after it, in the same launch."""
    commits = [r for r in finished.records if r["what"] == What.COMMIT]
    fallen = {(death.member, death.attempt) for death in episode.deaths}
    began = {(r["member"], r["attempt"]) for r in commits if completed(r) < episode.began}
    return {
        r["member"]
        for r in commits
        if r["step"] == episode.step and completed(r) > episode.began and (r["member"], r["attempt"]) in began - fallen
    }


def _cause(finished: Finished, episode: Episode) -> str:
    """Check the first agreement: a rank that enters it with an error met the error before any rank knew the outcome."""
    if not finished.spec.policy.repairs or _joining(finished, episode):
        return ""
    joined = {r["member"] for r in finished.records if r["what"] == What.JOINED and r["at"] > episode.began}
    told = {member: wrote for member, wrote in _within(finished, episode).items() if member not in joined}
    outcomes = [r for wrote in told.values() for r in wrote if r["what"] == What.AGREED]
    agreed = min(outcomes, key=itemgetter("at"), default=None)
    for member, (noticed, *_) in told.items():  # a rank that was given the state meets errors of later deaths only
        if agreed and noticed.get("how", "").startswith("error") and noticed["at"] > agreed["at"]:
            return f"rank {agreed['member']} knew what all agreed on before rank {member} came to it with an error"
    return ""
