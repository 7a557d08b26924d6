"""torchrun's elastic restart after the death of a worker: from SIGKILL to the next step that everybody completed.

Run by `torchrun`, this file is the worker: all-reduce by all-reduce over gloo, until the victim kills itself. PyTorch
may live in an environment of its own: TORCH_PYTHON names that one's Python.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

_LENGTH = 2450
# With the agent's store shared, restarted workers find the addresses of the dead ones there and never connect.
_ENVIRONMENT = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}


def python() -> str | None:
    """A Python that has PyTorch; None without one."""
    if importlib.util.find_spec("torch") is not None:
        return sys.executable
    return os.environ.get("TORCH_PYTHON")


def restart(interpreter: str, ranks: int, victim: int, step: int, folder: Path) -> float:
    """Seconds from the kill to the end of the first step after the restart.

    Raises
    ------
    RuntimeError
        The job did not come back.
    """
    from emulator.launch.job import start  # a worker's environment need not have it

    program = [interpreter, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    program += ["--max-restarts=1", "--monitor-interval=0.1", __file__, str(victim), str(step), str(folder)]
    with start(program, extra_env=_ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as job:
        job.wait(timeout=180)
    killed, resumed = folder / "killed", folder / "resumed"
    if not resumed.exists():
        raise RuntimeError("torchrun's job did not complete a step after its restart")
    return float(resumed.read_text()) - float(killed.read_text())


def _work(victim: int, last: int, folder: Path) -> None:
    torch = importlib.import_module("torch")
    distributed = importlib.import_module("torch.distributed")
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    again = os.environ["TORCHELASTIC_RESTART_COUNT"] != "0"
    gradient = torch.ones(_LENGTH, dtype=torch.int64)
    for step in range(last + 1):
        if step == last and not again and distributed.get_rank() == victim:
            (folder / "killed").write_text(str(time.monotonic()))
            os.kill(os.getpid(), signal.SIGKILL)
        distributed.all_reduce(gradient)
        if again:
            break
    distributed.barrier()
    if distributed.get_rank() == 0:
        (folder / "resumed").write_text(str(time.monotonic()))


if __name__ == "__main__":
    _work(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
