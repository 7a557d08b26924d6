"""``python -m emulator compare``: exit status, what is said, and what cannot be compared."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from emulator import results
from emulator.commands.compare import compare
from emulator.measure.statistics import summary


def saved(
    folder: Path, factor: float = 1.0, *, sizes: tuple[int, ...] = (8, 1024), seed: int = 0, **changed: Any
) -> Path:
    """A run folder of a ring on 4 ranks whose times are those of `seed` times `factor`."""
    rng = np.random.default_rng(seed)
    result = results.new(changed.pop("demo", "ring"), ["python", "-m", "demos.ring"], ranks=4)
    samples: list[dict[str, Any]] = []
    for size in sizes:
        seconds = factor * 1e-4 * rng.lognormal(sigma=0.02, size=30)
        row = {"pattern": "ring", "ranks": 4, "bytes": size}
        samples += [{**row, "repetition": i, "seconds": one, "skew": 0.0} for i, one in enumerate(seconds)]
        result["measurements"].append({**row, "seconds": summary(seconds)})
    folder.mkdir(parents=True)
    results.save(result | changed, folder / results.RESULT)
    results.save_samples(folder, samples)
    return folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(compare, [str(one) for one in arguments])


def test_a_slower_result_has_status_1_and_a_faster_one_0(tmp_path: Path) -> None:
    a, b = saved(tmp_path / "a"), saved(tmp_path / "b", 2.0, seed=1)
    slower, faster = run(a, b), run(b, a)
    assert (slower.exit_code, faster.exit_code) == (1, 0)
    assert "slower by more than 25 % in 2 of 2" in slower.output
    assert "faster in 2" in faster.output


def test_the_same_result_and_one_within_the_margin_have_status_0(tmp_path: Path) -> None:
    a, b = saved(tmp_path / "a"), saved(tmp_path / "b", 1.2, seed=1)
    assert run(a, a).exit_code == 0
    assert run(a, b).exit_code == 0
    assert run(a, b, "--margin", "5%").exit_code == 1


def test_folders_of_several_runs_compare_launches_without_a_margin(tmp_path: Path) -> None:
    for i, factor in enumerate((1.0, 1.03, 0.97)):
        saved(tmp_path / "a" / str(i), factor, seed=i)
        saved(tmp_path / "b" / str(i), 1.2 * factor, seed=10 + i)
    slower = run(tmp_path / "a", tmp_path / "b", "--json", tmp_path / "out.json")
    assert slower.exit_code == 1
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["sides"]["A"]["launches"] == 3
    assert {row["test"] for row in found["measurements"]} == {"launches"}
    assert [row["ratio"] for row in found["measurements"]] == pytest.approx([1.2, 1.2], rel=0.02)


def test_the_launches_of_one_run_are_launches_and_earlier_runs_are_not_its_own(tmp_path: Path) -> None:
    sides = [saved(tmp_path / name, factor, seed=seed) for name, factor, seed in (("a", 1.0, 0), ("b", 1.2, 1))]
    for folder in sides:
        rows = results.load_samples(folder)
        results.save_samples(folder, [{**row, "launch": row["repetition"] // 10} for row in rows])
    assert run(*sides, "--json", tmp_path / "out.json").exit_code == 1
    found = json.loads((tmp_path / "out.json").read_text())
    assert (found["sides"]["A"]["launches"], found["margin"]) == (3, 0.0)
    content = results.load(sides[1])
    results.save(content | {"earlier": ["runs/ring/1", "runs/ring/2"]}, sides[1] / results.RESULT)
    assert run(*sides, "--json", tmp_path / "out.json").exit_code == 1
    found = json.loads((tmp_path / "out.json").read_text())
    assert [found["sides"][side]["launches"] for side in "AB"] == [3, 1]


def test_a_drills_recovery_is_compared(tmp_path: Path) -> None:
    def drill(seconds: float) -> dict[str, Any]:
        times = seconds * np.random.default_rng(0).lognormal(sigma=0.05, size=8)
        repeats = [{"recovery_seconds": one, "seconds": 1.0} for one in times]
        return {"pattern": "ring", "ranks": 4, "recovery": "shrink", "outcome": "recovered", "repeats": repeats}

    a = saved(tmp_path / "a", sizes=(), demo="drill", drill=drill(0.03))
    b = saved(tmp_path / "b", sizes=(), demo="drill", drill=drill(0.3))
    found = run(a, b)
    assert found.exit_code == 1
    assert "ring by shrink: recovery" in found.output


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"demo": "links"}, "same demo, got ring"),
        ({"clock": "emulated"}, "same clock, got wall"),
        ({"sizes": (4096,)}, "no measurement in common"),
    ],
)
def test_what_cannot_be_compared_is_one_line_and_status_2(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    a, b = saved(tmp_path / "a"), saved(tmp_path / "b", **changed)
    refused = run(a, b)
    assert refused.exit_code == 2
    assert said in refused.output
    assert len(refused.output.strip().splitlines()) == 1


def _without_repeats(folder: Path) -> None:
    path = folder / results.RESULT
    drill = {"pattern": "ring", "ranks": 4, "recovery": "shrink", "outcome": "recovered", "repeats": [0.5]}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"drill": drill}))


def _samples(text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / results.SAMPLES).write_text(text)


@pytest.mark.parametrize(
    "spoil",
    [
        _without_repeats,
        _samples("pattern,ranks,bytes,repetition,seconds\nring,4,8,0,soon\n"),
        _samples("pattern,ranks,bytes,repetition,seconds\nring,4,8,0\n"),
        _samples("name,ranks\nring,4\n"),
        _samples("pattern,ranks,bytes,repetition,seconds\nring,4,8,0,nan\nring,4,8,1,-1\n"),
    ],
)
def test_a_result_with_malformed_fields_of_its_own_is_one_line_and_status_2(
    tmp_path: Path, spoil: Callable[[Path], object]
) -> None:
    a, b = saved(tmp_path / "a"), saved(tmp_path / "b")
    spoil(b)
    refused = run(a, b)
    assert (refused.exit_code, len(refused.output.strip().splitlines())) == (2, 1), refused.output
    assert str(b) in refused.output


def test_a_folder_of_unlike_runs_and_one_without_any_are_refused(tmp_path: Path) -> None:
    a = saved(tmp_path / "a")
    saved(tmp_path / "mixed" / "1")
    saved(tmp_path / "mixed" / "2", demo="links")
    (tmp_path / "empty").mkdir()
    for other in ("mixed", "empty", "absent"):
        assert run(a, tmp_path / other).exit_code == 2


def test_a_comparison_that_cannot_be_written_is_printed_and_has_status_1(tmp_path: Path) -> None:
    a = saved(tmp_path / "a")
    (tmp_path / "file").touch()
    unwritten = run(a, a, "--json", tmp_path / "file" / "out.json")
    assert unwritten.exit_code == 1
    assert "PASS" in unwritten.output
