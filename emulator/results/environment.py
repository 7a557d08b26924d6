"""The environment record of a result, and what in it makes timings unstable."""

import platform
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from emulator.core import wall_clock

_FREQUENCY = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


def record(ranks: int = 1, hosts: Sequence[str] | None = None) -> dict[str, Any]:
    """Describe machine and software, for a result file.

    Parameters
    ----------
    ranks : number of ranks of the job
    hosts : host name of each rank. Absent, all ranks are on this host. Cores are those of this host.
    """
    import numpy
    import psutil

    of_rank = list(hosts or [platform.node()] * ranks)
    per_host = Counter(of_rank)
    places = {host: place for place, host in enumerate(per_host)}
    cores = wall_clock.cores()
    return {
        "mpi": _mpi_version(),
        "mpi4py": getattr(sys.modules.get("mpi4py"), "__version__", None),
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": _cpu_model(),
        "hosts": list(per_host),
        "placement": [places[host] for host in of_rank],
        "cores": cores,
        "cores_physical": psutil.cpu_count(logical=False),
        "memory_bytes": psutil.virtual_memory().total,
        "ranks": ranks,
        "oversubscription": max(per_host.values()) / cores,
        "load": [round(value, 2) for value in psutil.getloadavg()],
        "governor": _FREQUENCY.read_text().strip() if _FREQUENCY.is_file() else None,
    }


def warnings(environment: dict[str, Any]) -> list[str]:
    """List what makes wall-clock timings of this environment unstable, each with its remedy."""
    cores, ranks = environment["cores"], environment["ranks"]
    found = []
    if environment["oversubscription"] > 1:
        found.append(
            f"{ranks} ranks take turns on {cores} cores (oversubscription {environment['oversubscription']:.3g}): "
            "run one per core"
        )
    load = environment.get("load") or [0.0]
    if load[0] > 0.5 * cores:
        found.append(f"the machine was busy before (load {load[0]:.1f} on {cores} cores): close other programs")
    governor = environment.get("governor")
    if governor not in (None, "performance"):
        found.append(f"the cores change frequency (governor {governor}): choose the governor performance")
    return found


def rank_hosts(environment: Mapping[str, Any]) -> list[str]:
    """The host name of each rank of a run, from its environment record.

    Records without `placement` were written before it was kept; their ranks fill the hosts evenly, in blocks.
    """
    hosts, ranks = environment["hosts"], environment["ranks"]
    placement = environment.get("placement") or [rank * len(hosts) // ranks for rank in range(ranks)]
    return [hosts[place] for place in placement] if hosts else []


def crowding(hosts: Sequence[str], cores: int | None = None) -> Callable[[int], float]:
    """A function of p: the ranks per core, at least 1, when the first p of these ranks run.

    Parameters
    ----------
    hosts : host name of each rank
    cores : of every host; None for as many as this one has
    """
    each = cores or wall_clock.cores()
    return lambda p: max(1.0, max(Counter(hosts[:p]).values()) / each)


def _mpi_version() -> str | None:
    """Name and version of the MPI library that this process has loaded, if any; this module loads none."""
    mpi = sys.modules.get("mpi4py.MPI")
    if mpi is None:
        return None
    first_line = mpi.Get_library_version().partition("\n")[0]
    return " ".join(first_line.partition(", package")[0].split())


def _cpu_model() -> str | None:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or None
