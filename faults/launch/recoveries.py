"""What happened in each recovery of a user's program, from its ranks' records: as sentences and for ``--json``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from emulator.units import format_time
from faults.record.outcome import Process


def recoveries(
    told: Sequence[dict[str, Any]], began: float, relaunched: float | None = None, processes: Sequence[Process] = ()
) -> list[dict[str, Any]]:
    """List each recovery for the ``--json`` file; times in seconds since the start.

    Parameters
    ----------
    told : records of all ranks (`outcome.tell`): those of one recovery name the same dead ranks
    began, relaunched : when the program was started, and when its present launch was, if that is not the first
    processes : of this launch. A recovery from the death of one that was stopped counts from its stop, its last sign of
        life.
    """
    aborted = min((one["at"] for one in told if "aborted" in one), default=math.inf)
    told = [one for one in told if one["at"] < aborted]  # the ranks that die after it are ended, and none goes on
    left = [(one["left"], one["at"]) for one in told if "left" in one]
    seen: list[list[dict[str, Any]]] = []
    for record in sorted((one for one in told if "dead" in one), key=itemgetter("at")):
        of = next((of for of in reversed(seen) if _same(of, record)), None)
        if of is None:
            seen.append([record])
        else:
            of.append(record)
    found = []
    for of in seen:
        dead, joined, steps = of[0]["dead"], of[0].get("joined", ()), [one["step"] for one in of if "step" in one]
        step = min(steps, default=None)
        facts = {"dead": list(dead), "at": of[0]["at"] - began, "ranks": of[-1]["ranks"], "step": step}
        if step is not None:
            lost = max(max(steps) - min(one["back_to"] for one in of), 0)
            over = max(one["at"] + one["seconds"] for one in of)  # a place that was left may be filled, and lost again
            gone = {place: at for place, at in left if place in dead and at <= over}
            left = [one for one in left if one not in gone.items()]
            facts |= {"left": bool(dead) and gone.keys() >= set(dead), "joined": list(joined)}
            if not dead:
                facts["cause"] = of[0]["cause"]
            if started := [one["started"] for one in of if one.get("started")]:
                facts["started"] = started[0]
            facts |= {"policy": of[0]["policy"], "seconds": max(one["seconds"] for one in of), "lost_steps": lost}
        found.append(facts)
    for one in processes:
        if one.stopped_at and (of_it := [it for it in found if it["dead"] and _end(it) + began > one.at]):
            _count_from(of_it[0], one.stopped_at - began)
    resumed = [one for one in told if "resumed" in one]
    if relaunched is not None and resumed:
        at = max(one["at"] for one in resumed)
        found.append({"resumed": resumed[0]["resumed"], "at": at - began, "seconds": at - relaunched})
    return found


def _same(of: Sequence[dict[str, Any]], record: dict[str, Any]) -> bool:
    """Whether `record` belongs to the recovery of the records `of`.

    Its ranks may have been in different steps (``every=0``), but all were in it at once; a place that is filled again
    and lost again is another recovery.
    """
    if (of[0]["dead"], of[0].get("joined")) != (record["dead"], record.get("joined")):
        return False
    return of[0].get("step") == record.get("step") or record["at"] <= max(map(_end, of))


def _end(facts: dict[str, Any]) -> float:
    return facts["at"] + facts.get("seconds", 0.0)


def _count_from(facts: dict[str, Any], stopped_at: float) -> None:
    """Measure a recovery from the stop of one of its dead ranks; times in seconds since the start."""
    end, at = _end(facts), min(facts["at"], stopped_at)
    facts |= {"at": at, "stopped": facts.get("stopped", 0) + 1} | ({"seconds": end - at} if "seconds" in facts else {})


def in_words(facts: dict[str, Any]) -> str:
    """A sentence about a recovery: which ranks died when, how the job went on, and what it cost."""
    if "resumed" in facts:
        return f"restart: went on from step {facts['resumed']} after {format_time(facts['seconds'])}"
    dead, step = facts["dead"], facts["step"]
    went = "left" if facts.get("left") else "died"
    if stopped := facts.get("stopped", 0):
        went = f"{'were' if len(dead) > 1 else 'was'} stopped" if stopped == len(dead) else "died or were stopped"
    if dead:
        what = f"{_ranks(dead)} {went}"
    else:
        what = f"{_ranks(facts['joined'])} joined" if facts["joined"] else facts["cause"]
    line = f"{what}{'' if step is None else f' in step {step}'}, {format_time(facts['at'])} after the start: "
    if step is None:
        return f"{line}the other {facts['ranks']} went on without"
    cost = format_time(facts["seconds"])
    started = f" (started {format_time(facts['started'])} before)" if facts.get("started") else ""
    return (
        f"{line}{facts['policy']}, {facts['ranks']} ranks went on after {cost}, {facts['lost_steps']} steps done again"
        f"{started}"
    )


def _ranks(ranks: Sequence[int]) -> str:
    return f"rank{'s' if len(ranks) > 1 else ''} {', '.join(map(str, ranks))}"
