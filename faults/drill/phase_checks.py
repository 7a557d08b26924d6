"""Do the phases of a recovery hold together? They lie end to end by construction, so their sum alone proves nothing.

    sum     the phases, which come from the survivors' journals, add up to what passed from the instant of death that
            the board keeps to the last survivor's own stamp of having finished the interrupted step
    chain   each survivor went through every phase of its policy, in order, and wrote it down in that order
    cause   nobody knows what all agreed on before the last one that brought an error into the agreement had met it
    frame   all of it happened while the launcher saw the job run
    need    nobody rebuilt the job more often than somebody died

A clock that is off, a record that is missing, and one that is not where it belongs each break one of these.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from faults.detect import SWIM
from faults.drill.timeline import Episode, Record, completed, deaths
from faults.launch.supervise import Finished
from faults.policies import Policy

_ROUNDING_S = 1e-6
_LETTERS = {"noticed": "n", "agreed": "a", "rebuilt": "b", "restored": "s"}
_REPAIR, _AGAIN = r"(n((an*)+b)+s)+", r"bs"
_AROUND = r"b?(nb)*n?"  # in step with nobody: a further death, and the end, may fall between n and b
_CUT_SHORT = r"(n((an*)+b?)*)?"  # of the repair of a further death, which goes on behind the episode
_GIVEN = "s"  # who comes in has nothing that was interrupted, and is given the state; a further death meets it as all


def _expected(policy: Policy) -> str:
    """The order in which a survivor writes down the phases, as a regular expression over their letters."""
    return _REPAIR if policy.repairs else _AGAIN if policy.relaunches else _AROUND


def check(finished: Finished, found: Sequence[Episode]) -> tuple[bool, str]:
    """Whether all of that holds of every recovery, and what does not."""
    if why := _out_of_order(finished.records) or _needless(finished):
        return False, why
    for episode in found:
        for broken in (_sum, _frame, _chain, _cause):
            if why := broken(finished, episode):
                return False, why
    return True, "add up to the time from death to the last survivor's stamp, in order on every rank"


def _out_of_order(records: Sequence[Record]) -> str:
    """Records are sorted by time: a rank whose clock went back wrote them in another order."""
    last: dict[tuple[int, int], Record] = {}
    for r in records:
        if r["what"] in _LETTERS or r["what"] == "commit":
            before = last.get((r["member"], r["attempt"]), r)
            if before.get("line", 0) > r.get("line", 0):
                return f"rank {r['member']} wrote {r['what']} before {before['what']}, with a later time"
            last[r["member"], r["attempt"]] = r
    return ""


def _needless(finished: Finished) -> str:
    """A repair without a death; where members accuse each other, one who is pardoned has all begin anew.

    Who waited too long for an agreement may have revoked a lane, by which there is another one.
    """
    spec = finished.spec
    if not spec.policy.repairs or spec.detector == SWIM:
        return ""
    rebuilt = Counter(r["member"] for r in finished.records if r["what"] == "rebuilt")
    died = len(deaths(finished.records))
    spoiled = len({lane for r in finished.records for lane in r.get("spoiled", ())})
    for who, times in rebuilt.most_common(1):
        if times > died + spoiled:
            return f"rank {who} rebuilt the job {times} times after {died} deaths"
    return ""


def _sum(finished: Finished, episode: Episode) -> str:
    first = next(death for death in episode.deaths if death.at == episode.began)
    events = [event.ident for event in finished.spec.events]
    died = finished.fired[events.index(first.event)]
    stamps = [completed(r) for r in finished.records if (r["what"], r.get("step")) == ("commit", episode.step)]
    total, phases = max(stamps) - died, episode.phases
    if min(phases.values()) < 0:
        return f"{min(phases, key=lambda name: phases[name])} ends before it begins"
    if abs(sum(phases.values()) - total) > _ROUNDING_S:
        return f"they add up to {sum(phases.values()):.6f} s, from death to the last stamp it is {total:.6f} s"
    return ""


def _frame(finished: Finished, episode: Episode) -> str:
    if not finished.began <= episode.began <= episode.ended <= finished.ended:
        return "a recovery lies outside of the time in which the launcher saw the job run"
    return ""


def _within(finished: Finished, episode: Episode) -> dict[int, list[Record]]:
    """Per survivor what it wrote of its phases in the recovery; a restart's ranks are those of the last launch."""
    fallen = {(death.member, death.attempt) for death in episode.deaths}
    inside = [r for r in finished.records if episode.began < r["at"] <= episode.ended and r["what"] in _LETTERS]
    if finished.spec.policy.relaunches:
        last = max((r["attempt"] for r in inside if r["what"] == "restored"), default=0)
        inside = [r for r in inside if r["attempt"] == last and r["what"] in ("rebuilt", "restored")]
    told: dict[int, list[Record]] = {}
    for r in inside:
        if (r["member"], r["attempt"]) not in fallen:
            told.setdefault(r["member"], []).append(r)
    return told


def _chain(finished: Finished, episode: Episode) -> str:
    told = _within(finished, episode)
    policy = finished.spec.policy
    chain = _expected(policy)
    if len(episode.deaths) > 1 and chain == _REPAIR:
        chain += _CUT_SHORT
    if policy.repairs and policy.refills:
        chain = f"{_GIVEN}?({chain})?"
    for member, wrote in told.items():
        if not re.fullmatch(chain, "".join(_LETTERS[r["what"]] for r in wrote)):
            return f"rank {member} went through {', '.join(r['what'] for r in wrote)}"
    silent = _finishers(finished, episode) - set(told) if policy.repairs else set()
    return f"rank {min(silent)} was there before and after, and in no phase of the recovery" if silent else ""


def _finishers(finished: Finished, episode: Episode) -> set[int]:
    """Members at work before the death that finished the interrupted step after it, in the same launch."""
    commits = [r for r in finished.records if r["what"] == "commit"]
    fallen = {(death.member, death.attempt) for death in episode.deaths}
    began = {(r["member"], r["attempt"]) for r in commits if completed(r) < episode.began}
    return {
        r["member"]
        for r in commits
        if r["step"] == episode.step and completed(r) > episode.began and (r["member"], r["attempt"]) in began - fallen
    }


def _at(record: Record) -> float:
    return float(record["at"])


def _cause(finished: Finished, episode: Episode) -> str:
    """Of the first agreement: who comes to it with an error has met the error before anybody knows its outcome."""
    if not finished.spec.policy.repairs:
        return ""
    told = _within(finished, episode)
    agreed = min((r for wrote in told.values() for r in wrote if r["what"] == "agreed"), key=_at, default=None)
    for member, (noticed, *_) in told.items():  # who was given the state first meets errors of later deaths only
        if agreed and noticed.get("how", "").startswith("error") and noticed["at"] > agreed["at"]:
            return f"rank {agreed['member']} knew what all agreed on before rank {member} came to it with an error"
    return ""
