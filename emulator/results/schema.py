"""The fields of `result.json`, schema 1, as pydantic models.

Times are in seconds, sizes in bytes, beta and gamma in seconds per byte. Every record keeps unknown fields, so that a
demo can add its own; reports and `demos.speedup` read the fields listed here.

This module imports pydantic: import it only where a file is read or written, never on every rank.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA = 1

# Wider than any measured value, and narrow enough that products of them do not overflow.
Term = Annotated[float, Field(ge=0, le=1e12)]
Bytes = Annotated[int, Field(ge=0, le=1 << 62)]
Ranks = Annotated[int, Field(ge=1, le=1 << 31)]

Interval = tuple[float, float]
Seconds = Term
Draw = tuple[Term, Term, Term]  # alpha, beta and gamma of one resample


class Record(BaseModel):
    """A JSON object with known fields; unknown ones are kept, and numbers must be finite."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)


class Spread(Record):
    """The distribution of one measured quantity over repetitions."""

    median: Seconds
    ci95: Interval | None = None
    p5: float | None = None
    p95: float | None = None
    p99: float | None = None
    skew: float | None = None
    n: int | None = Field(default=None, ge=0)
    stopped: str | None = None


class Measurement(Record):
    """One pattern at one number of ranks and one size."""

    pattern: str
    ranks: Ranks
    bytes: Bytes
    seconds: Spread
    algbw: float | None = None
    busbw: float | None = None
    predicted: float | None = None
    native: Spread | None = None
    wrong: int | None = None


class Estimate(Record):
    """A fitted parameter with its 95 % interval."""

    value: Term
    ci95: Interval | None = None


class Segment(Record):
    """The terms of a fit between two sizes, both included."""

    first: Bytes
    last: Bytes
    alpha: Estimate
    beta: Estimate | None = None
    gamma: Estimate | None = None
    draws: list[Draw] | None = None


class Fit(Record):
    """A fitted cost model.

    A link costs alpha + beta n, a collective alpha S(p) + beta V(p) n + gamma R(p) n.
    """

    level: Literal["link", "collective"]
    pattern: str
    alpha: Estimate
    beta: Estimate | None = None
    gamma: Estimate | None = None
    segments: list[Segment] = []
    draws: list[Draw] | None = None
    median_relative_error: float | None = None
    configured: dict[str, Any] | None = None


class HeldOut(Record):
    """A point that was left out of a fit, measured and predicted."""

    ranks: Ranks
    bytes: Bytes
    measured: Seconds
    predicted: float
    relative_error: float


class DrilledFault(Record):
    """A fault of a drill's plan, and whether it happened."""

    text: str
    fired: bool
    at: float | str | None = None


class Drill(Record):
    """What happened in a fault drill and what its recovery cost."""

    pattern: str
    ranks: int = Field(ge=1)
    ranks_after: int | None = Field(default=None, ge=0)
    recovery: str
    faults: list[DrilledFault] = []
    outcome: Literal["recovered", "failed"]
    phases: dict[str, Any] = {}
    recovery_seconds: float | None = None
    lost_steps: int | None = None
    result_matches: bool | None = None
    overhead: dict[str, Any] | None = None
    repeats: list[Any] = []


class Environment(Record):
    """The machine and the software of a run."""

    mpi: str | None = None
    mpi4py: str | None = None
    python: str
    hosts: list[str] = []
    placement: list[int] = []
    cores: int = Field(ge=1)
    ranks: int = Field(ge=1)
    oversubscription: float
    load: list[float] = []


class Result(Record):
    """The whole `result.json`."""

    schema_: Literal[1] = Field(alias="schema")
    demo: str
    command: list[str]
    started: str
    environment: Environment
    network: dict[str, Any] | None = None
    clock: Literal["wall", "emulated", "simulated"]
    pace: float | str | None = None
    fidelity: dict[str, Any] | None = None
    measurements: list[Measurement] = []
    fits: list[Fit] = []
    held_out: list[HeldOut] = []
    drill: Drill | None = None
