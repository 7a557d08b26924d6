"""The request for a drill, of the command line, of a campaign or of a program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from faults.drill.job_spec import JobSpec


@dataclass
class Request:
    """A drill as requested; a field that is None is chosen when the request is resolved.

    Attributes
    ----------
    faults
        Fault lines.
    recovery
        The policy's name; None: the first one of the pattern.
    spares
        Ranks that wait; None: one where the policy has spares.
    options
        Of the pattern (`faults.patterns.catalogue.Pattern.options`).
    checkpoint
        Differences from `faults.drill.job_spec.CHECKPOINT`.
    hosts
        So many hosts, each with an even block of ranks; or the host of each rank, spares included; None: the network's.
    real_hosts
        On two hosts made by ``scripts/two-hosts``.
    limit_s
        Silence that means death to the detector; None: from the ranks per core.
    quorum_s
        A cut that lasts longer stops the side without a quorum after so many emulated seconds (`faults.agree.quorum`);
        None: both sides wait.
    stall_s, deadline_s
        Longest time without any progress, and longest time of one launch.
    trace, trace_limit
        Whether each rank's events are recorded, and how many of a rank are kept; None: what suits their number.
    """

    pattern: str = "ring"
    ranks: int = 8
    faults: Sequence[str] = ()
    recovery: str | None = None
    spares: int | None = None
    steps: int | None = None
    seed: int = 0
    repeat: int = 1
    options: dict[str, Any] = field(default_factory=dict)
    checkpoint: dict[str, Any] = field(default_factory=dict)
    hosts: int | list[int] | None = None
    real_hosts: bool = False
    net: str | None = None
    pace: float | str = "none"
    detector: str | None = None
    limit_s: float | None = None
    quorum_s: float | None = None
    stall_s: float = 20.0
    deadline_s: float = 120.0
    trace: bool = False
    trace_limit: int | None = None

    def spec(self, seed: int | None = None) -> JobSpec:
        """The job that this means, with the draws of that seed (absent: its own); see `faults.drill.resolution`."""
        from faults.drill.resolution import resolve  # ranks read requests and resolve none

        return resolve(self, self.seed if seed is None else seed)
