"""Results made up for tests of the report, and what their views print."""

from emulator import results
from emulator.report import terminal
from emulator.report.views import view

DRILL = {
    "pattern": "ring",
    "ranks": 4,
    "ranks_after": 3,
    "recovery": "shrink",
    "faults": [{"text": "kill 2 @ step 5", "fired": True, "at": 0.3}],
    "outcome": "recovered",
    "phases": {"detect": 0.012, "agree": 0.003, "rebuild": 0.0, "restore": 0.0, "replay": 0.005},
    "recovery_seconds": 0.02,
    "recovery_spread": {"median": 0.02, "ci95": None, "n": 1},
    "lost_steps": 2,
    "checks": {"deaths": {"ok": True, "seen": "[2] as injected"}, "commits": {"ok": False, "seen": "39 of 40"}},
    "throughput_spread": {"before": {"median": 400.0}, "after": {"median": 500.0}},
    "overhead": {"fault_free_seconds": 0.5, "drill_seconds": 0.6},
    "repeats": [{}],
}


def printed(items, width=150, full=False):
    """What the items look like on a terminal without colours."""
    return "\n".join("".join(text for text, _ in line) for line in terminal.lines(items, width, full))


def row(**changes):
    seconds = {"median": 1e-3, "ci95": [9e-4, 1.2e-3], "p5": 8e-4, "p95": 2e-3, "p99": 3e-3, "n": 30}
    native = {"median": 5e-4, "ci95": [4e-4, 6e-4]}
    plain = {"pattern": "ring", "ranks": 4, "bytes": 1 << 20, "seconds": seconds, "native": native, "wrong": 0}
    return {**plain, "algbw": 1.05e9, "busbw": 1.57e9, "predicted": 1.1e-3, **changes}


def estimate(value):
    return {"value": value, "ci95": [0.9 * value, 1.1 * value]}


def fitted(**changes):
    terms = {"alpha": estimate(2e-6), "beta": estimate(5e-10), "gamma": None}
    plain = {"level": "collective", "pattern": "ring", **terms, "segments": [], "median_relative_error": 0.04}
    return {**plain, **changes}


def a_result(**changes):
    return {**results.new("ring", ["python", "-m", "demos.ring", "-n", "4"], ranks=4), **changes}


def lines_of(result):
    """What ``report --full`` prints, without padding."""
    return [" ".join(line.split()) for line in printed(view(result), full=True).splitlines()]


def a_run():
    pairs = [{"from": f"host{a}", "to": f"host{b}", "messages": 1, "bytes": 10**7} for a in range(9) for b in range(9)]
    busy = [{"name": f"host{a} out", "messages": 1, "bytes": 10**7, "busy": 1e-3} for a in range(20)]
    traffic = {"seconds": 1.0, "messages": 81, "bytes": 81 * 10**7, "pairs": pairs, "resources": busy}
    return a_result(demo="run", clock="emulated", traffic=traffic)


def a_matrix():
    cell = {"outcome": "recovered", "why": None, "drill": DRILL}
    jobs = [(pattern, policy) for pattern in ("ring", "parameter-server", "gossip") for policy in ("shrink", "respawn")]
    return [{**cell, "pattern": a, "recovery": b, "fault": fault} for a, b in jobs for fault in ("middle", "first")]
