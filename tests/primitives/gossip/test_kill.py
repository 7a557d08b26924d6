"""A rank is killed in the middle of gossip: the others go on, agree, and average exactly among themselves."""

import json

import numpy as np
import pytest

from emulator.launch import mpirun
from emulator.launch.job import start

RANKS, VICTIM = 5, 2


def test_survivors_agree_without_repair(tmp_path):
    if not mpirun.find_mpi().ulfm:
        pytest.skip("the MPI at hand ends the whole job when a rank dies (no ULFM)")
    command = mpirun.command(RANKS, ["-m", "tests.primitives.survivors", str(tmp_path)], ft=True)
    with start(command) as job:
        job.wait(timeout=60)
        assert not job.leftovers()
    seen = {int(path.stem): json.loads(path.read_text()) for path in tmp_path.glob("*.json")}
    living = [rank for rank in range(RANKS) if rank != VICTIM]
    assert sorted(seen) == living
    for one in seen.values():
        assert one["noticed"] == [VICTIM]
        np.testing.assert_allclose(one["exact"], np.mean(living), atol=1e-12)
        low, high = one["x"]
        # What the victim gave before it died stays: the mean moves by at most its share.
        assert 0 < low <= high < RANKS - 1
    values = [value for one in seen.values() for value in one["x"]]
    assert max(values) - min(values) < 1e-6
    assert seen[0]["answered"] == [1, 2, 3]
