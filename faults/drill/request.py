"""A drill as requested by the command line, a campaign or a program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from faults.drill.job_spec import JobSpec

SIMULATED_NET = "10gbe"
"""The network of simulated ranks where none is named."""


@dataclass
class Request:
    """A drill as requested; a field that is None is chosen when the request is resolved.

    Attributes
    ----------
    faults : fault lines
    recovery : the policy's name; None: the first one of the pattern
    spares : ranks that wait; None: one where the policy has spares
    options : of the pattern (`faults.patterns.catalogue.Pattern.options`)
    checkpoint : differences from `faults.drill.job_spec.CHECKPOINT`
    hosts : so many hosts, each with an even block of ranks; or the host of each rank, spares included; None: the
        network's
    real_hosts : on two hosts made by ``scripts/two-hosts``
    limit_s : silence that means death to the detector; None: from the ranks per core
    quorum_s : a cut that lasts longer stops the side without a quorum after so many emulated seconds
        (`faults.agree.quorum`); None: both sides wait
    stall_s, deadline_s : longest time without any progress, and longest time of one launch
    simulate : on simulated ranks of this process, in simulated time
    trace, trace_limit : whether each rank's events are recorded, and how many of a rank are kept; None: what suits
        their number
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
    simulate: bool = False
    trace: bool = False
    trace_limit: int | None = None

    @property
    def network(self) -> str | None:
        """The name or file of the network; None for bare MPI."""
        return self.net or (SIMULATED_NET if self.simulate else None)

    def spec(self, seed: int | None = None) -> JobSpec:
        """Resolve the request into a job, with the draws of `seed` (absent: its own); see `faults.drill.resolution`."""
        from faults.drill.resolution import resolve  # ranks read requests and resolve none

        return resolve(self, self.seed if seed is None else seed)
