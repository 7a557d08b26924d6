"""The last k checkpoints of a job in a folder.

    folder/job                      whose they are
    folder/00000020/part-003-of-008

Every rank writes its own part. A checkpoint counts when all of its parts are there and whole; no list of valid ones is
kept that could be wrong. It can be read by any number of ranks, because every part says which elements it holds.
"""

from __future__ import annotations

import contextlib
import math
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from emulator.errors import UsageError
from faults.checkpoint import part as parts
from faults.checkpoint.part import Damaged, Slice
from faults.platform import LOCAL, Clock

MARK = "job"
"""The file that says whose checkpoints these are."""
_DIGITS = 8
_STEP = re.compile(rf"\d{{{_DIGITS},}}")
_FULL = Path("/dev/full")


class Store:
    """Checkpoints of a job in a folder on disk.

    Parameters
    ----------
    folder : where they are, shared by all ranks
    job : what tells this job's checkpoints from another's
    keep : how many are kept, at least 1; two let one be damaged
    background : write in a thread, from a copy: the job goes on meanwhile, and waits only if the last one is not done
        yet

    Raises
    ------
    UsageError
        The folder cannot be written, or holds the checkpoints of another job.
    """

    def __init__(
        self, folder: str | Path, job: str, keep: int = 2, background: bool = False, clock: Clock = LOCAL.clock
    ) -> None:
        self._clock = clock
        self.folder, self.job, self.keep, self.background = Path(folder), job, keep, background
        self.failures: list[str] = []
        self._thread: threading.Thread | None = None
        self._full_until = self._stalled_until = 0.0
        if keep < 1:
            raise UsageError(f"a store keeps at least 1 checkpoint, got {keep}")
        self._claim()

    def _claim(self) -> None:
        mark = self.folder / MARK
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                with mark.open("x") as file:
                    file.write(self.job)
            except FileExistsError:
                pass
            owner = mark.read_text()
        except OSError as error:
            raise UsageError(
                f"cannot write checkpoints to {self.folder}: {error.strerror}; choose another folder"
            ) from None
        # A rank that comes second may read the mark before the first has written it.
        if owner and owner != self.job:
            raise UsageError(
                f"the checkpoints in {self.folder} belong to job {owner!r}, this is {self.job!r}: choose another folder"
            )

    # -- writing -----------------------------------------------------------------------------------
    def save(self, step: int, state: dict[str, np.ndarray], rank: int, size: int) -> None:
        """Write this rank's share of a state that every rank holds; write errors are kept in `failures`."""
        self.save_slices(step, {n: parts.even_slice(a, rank, size) for n, a in state.items()}, rank, size)

    def save_slices(self, step: int, slices: dict[str, Slice], rank: int, size: int) -> None:
        """Write this rank's part: its own slices of arrays that are distributed over the ranks."""
        self.wait()
        if not self.background:
            self._write(step, slices, rank, size)
            return
        copies = {n: Slice(s.values.copy(), s.start, s.total, s.shape) for n, s in slices.items()}
        self._thread = threading.Thread(target=self._write, args=(step, copies, rank, size), daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Wait until the background thread has written everything."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _write(self, step: int, slices: dict[str, Slice], rank: int, size: int) -> None:
        folder = self._place(step)
        self._clock.sleep(max(0.0, self._stalled_until - self._clock.now()))
        try:
            folder.mkdir(exist_ok=True)
            about = {"job": self.job, "step": step, "part": rank, "parts": size}
            device = _FULL if self._clock.now() < self._full_until else None
            parts.write(folder / f"part-{rank:03d}-of-{size:03d}", about, slices, device)
        except OSError as error:
            # The job is worth more than its checkpoint: go on, the one before is still there.
            self.failures.append(f"step {step}: {error.strerror}")
            return
        if rank == 0:
            self._prune(step)

    def _prune(self, newest: int) -> None:
        """Remove what is older than the last `keep` complete checkpoints before the one that is being written."""
        whole = [step for step in self.steps() if step < newest and self._all_there(step)]
        for step in self.steps():
            if len(whole) > self.keep - 1 and step < whole[-self.keep]:
                self._drop(step)

    def clear(self) -> None:
        """Remove the checkpoints, and the folder and its mark unless it holds something else."""
        for step in self.steps():
            self._drop(step)
        if [path.name for path in self.folder.iterdir()] == [MARK]:
            (self.folder / MARK).unlink()
            self.folder.rmdir()

    def _drop(self, step: int) -> None:
        """Remove the parts of a checkpoint, incomplete ones included, and nothing else."""
        with contextlib.suppress(OSError):
            for pattern in ("part-*", ".part-*"):
                for path in self._place(step).glob(pattern):
                    path.unlink()
            self._place(step).rmdir()

    def _place(self, step: int) -> Path:
        return self.folder / f"{step:0{_DIGITS}d}"

    # -- reading -----------------------------------------------------------------------------------
    def steps(self) -> list[int]:
        """Steps that have a folder, complete or not, oldest first."""
        return sorted(int(path.name) for path in self.folder.iterdir() if _STEP.fullmatch(path.name))

    def _all_there(self, step: int) -> bool:
        return any(len(paths) == count for count, paths in self._families(step).items())

    def _families(self, step: int) -> dict[int, list[Path]]:
        """Group parts by the total that their names give: a job on fewer ranks may have written the same step again."""
        found: dict[int, list[Path]] = {}
        for path in sorted(self._place(step).glob("part-*")):
            found.setdefault(int(path.name.rpartition("-")[2]), []).append(path)
        return found

    def newest_intact(self) -> tuple[int | None, list[str]]:
        """The newest step whose parts are all intact, and what was wrong with newer ones."""
        damaged: list[str] = []
        for step in reversed(self.steps()):
            try:
                for _ in self._parts(step):
                    pass
            except Damaged as error:
                damaged.append(str(error))
                continue
            return step, damaged
        return None, damaged

    def load(self, step: int, wanted: dict[str, tuple[int, int]] | None = None) -> dict[str, np.ndarray]:
        """Read the arrays of a checkpoint, whole or the elements `wanted` of each, whichever ranks wrote them.

        Raises
        ------
        Damaged
            A part is missing or not whole, or the parts do not cover what is wanted.
        """
        found: dict[str, np.ndarray] = {}
        missing: dict[str, int] = {}
        shapes: dict[str, tuple[int, ...]] = {}
        for slices in self._parts(step):
            for name, piece in slices.items():
                first, last = (wanted or {}).get(name, (0, piece.total))
                if name not in found:
                    found[name] = np.empty(last - first, piece.values.dtype)
                    missing[name] = last - first
                    shapes[name] = piece.shape if (first, last) == (0, piece.total) else ()
                low, high = max(first, piece.start), min(last, piece.start + piece.values.size)
                if low < high:
                    found[name][low - first : high - first] = piece.values[low - piece.start : high - piece.start]
                    missing[name] -= high - low
        for name, count in missing.items():
            if count:
                raise Damaged(f"{step:08d} lacks {count} elements of {name!r}")
        return {name: array.reshape(shapes[name] or -1) for name, array in found.items()}

    def _parts(self, step: int) -> Iterator[dict[str, Slice]]:
        """Read and verify the parts of a checkpoint."""
        families = self._families(step)
        count = min(families, key=lambda count: count - len(families[count]), default=0)
        paths = families.get(count, [])
        if not paths or len(paths) != count:
            raise Damaged(f"{step:08d} has {len(paths)} parts of {count or 'any'}")
        for path in paths:
            header, slices = parts.read(path)
            if header["job"] != self.job or header["step"] != step:
                raise Damaged(f"{path.name} is job {header['job']!r}, step {header['step']}")
            yield slices

    # -- faults ------------------------------------------------------------------------------------
    def corrupt(self, rank: int) -> None:
        """Flip one bit in the middle of a rank's part of the newest checkpoint that has it."""
        for step in reversed(self.steps()):
            for path in self._place(step).glob(f"part-{rank:03d}-of-*"):
                content = bytearray(path.read_bytes())
                content[len(content) * 3 // 4] ^= 1
                path.write_bytes(bytes(content))
                return

    def fill_disk(self, duration_s: float | None = None) -> None:
        """Simulate a full disk for some seconds (absent: from now on)."""
        self._full_until = self._clock.now() + (math.inf if duration_s is None else duration_s)

    def stall(self, duration_s: float | None = None) -> None:
        """Simulate a disk that accepts no data for some seconds: writes wait."""
        self._stalled_until = self._clock.now() + (duration_s or 0.0)
