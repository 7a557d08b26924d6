"""Who plays which role, for the ranks and for the command line alike; no MPI in here."""

from __future__ import annotations

from faults.drill.job_spec import JobSpec


def servers_of(spec: JobSpec) -> int:
    """Parameter servers of a job: the first ranks; one with replicas needs a second."""
    return 2 if spec.policy == "replicate" else 1
