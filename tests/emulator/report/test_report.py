"""Reports read results and say what is in them: every figure where its column says, every verdict in words."""

import io
import json
import os
import pty
import shlex
import termios

import pytest
from click.testing import CliRunner

from emulator import results
from emulator.commands.report import report
from emulator.report import formats, stability, terminal
from emulator.report.model import Column, Detail, Map, Series, Table, Text
from emulator.report.views import campaigns, charts, common, drill, fits, links, parameter_server, timeline, view
from emulator.run.console import make_console
from tests.emulator.report.widths import fits_every_width


def printed(items, width=150, full=False):
    """What the items look like on a terminal without colours."""
    return "\n".join("".join(text for text, _ in line) for line in terminal.lines(items, width, full))


def row(**changes):
    seconds = {"median": 1e-3, "ci95": [9e-4, 1.2e-3], "p5": 8e-4, "p95": 2e-3, "p99": 3e-3, "n": 30}
    native = {"median": 5e-4, "ci95": [4e-4, 6e-4]}
    plain = {"pattern": "ring", "ranks": 4, "bytes": 1 << 20, "seconds": seconds, "native": native, "wrong": 0}
    return {**plain, "algbw": 1.05e9, "busbw": 1.57e9, "predicted": 1.1e-3, **changes}


def estimate(value):
    return {"value": value, "ci95": [0.9 * value, 1.1 * value]}


def fitted(**changes):
    terms = {"alpha": estimate(2e-6), "beta": estimate(5e-10), "gamma": None}
    plain = {"level": "collective", "pattern": "ring", **terms, "segments": [], "median_relative_error": 0.04}
    return {**plain, **changes}


def a_result(**changes):
    return {**results.new("ring", ["python", "-m", "demos.ring", "-n", "4"], ranks=4), **changes}


@pytest.mark.parametrize(
    ("seconds", "text"), [(4.5e-7, "0.450"), (1.234e-5, "12.34"), (1.234e-4, "123.4"), (0.01234, "12,340"), (None, "-")]
)
def test_times_have_about_four_figures(seconds, text):
    assert formats.microseconds(seconds) == text


@pytest.mark.parametrize(
    ("share", "text"), [(0.123, "+12 %"), (-0.012, "-1.2 %"), (1e-9, "0.0 %"), (-1e-9, "0.0 %"), (None, "-")]
)
def test_shares_have_a_sign_unless_they_are_nothing(share, text):
    assert formats.percent(share, signed=True) == text


def test_a_measurement_shows_every_figure():
    text = printed([common.measured([row()], "ring, 4 ranks")])
    for figure in ("1M", "1,000", "[900, 1200]", "3,000", "1.05", "1.57", "500.0", "2.00", "1,100", "+10 %", "30"):
        assert figure in text.splitlines()[2].replace("   ", " "), figure


def test_a_narrow_terminal_keeps_the_columns_that_matter():
    text = printed([common.measured([row()], "ring, 4 ranks")], width=80)
    assert all(len(line) <= 80 for line in text.splitlines())
    *shown, note = text.splitlines()
    assert {"time", "us", "busbw", "1,000", "1.57"} <= set(" ".join(shown).split())
    assert "p99" not in " ".join(shown)
    assert note == 'without the columns "p99", "n" (--full or COLUMNS=111)'


def test_wrong_elements_stand_out_and_absent_ones_are_a_dash():
    text = printed([common.measured([row(wrong=7), row(wrong=None, native=None)], "ring")])
    assert text.splitlines()[2].split()[-2] == "7"
    assert text.splitlines()[3].split()[-2] == "-"


@pytest.mark.parametrize(("wrong", "shown"), [((0, 0), "0"), ((0, None), "-"), ((2, None), "2")])
def test_patterns_side_by_side_that_were_not_computed_have_no_count_of_wrong_elements(wrong, shown):
    rows = [row(pattern=name, wrong=count) for name, count in zip(("ring", "tree"), wrong, strict=True)]
    assert printed([common.comparison(rows, "4 ranks")]).splitlines()[2].split()[-1] == shown


def test_patterns_side_by_side_name_the_quickest():
    slow = row(pattern="tree", seconds={**row()["seconds"], "median": 2e-3})
    text = printed([common.comparison([row(), slow], "4 ranks")])
    assert text.splitlines()[1].split()[:3] == ["bytes", "ring", "tree"]
    assert text.splitlines()[2].split() == ["1M", "1,000", "2,000", "500.0", "2.00", "ring", "0"]


def test_a_fit_with_segments_shows_them_all():
    parts = [
        {"first": 0, "last": 4096, "alpha": estimate(1e-6), "beta": estimate(1e-9), "gamma": None},
        {"first": 8192, "last": 1 << 20, "alpha": estimate(5e-6), "beta": estimate(2.5e-10), "gamma": None},
    ]
    text = printed(fits.fits(a_result(fits=[fitted(segments=parts, segmented_relative_error=0.01)])), full=True)
    assert "0 to 4K" in text
    assert "8K to 1M" in text
    assert "4 GB/s" in text
    assert "1.0 %" in text
    assert "gamma" not in text


def test_a_map_leaves_out_what_was_not_measured():
    text = printed([Map("alpha", "01", "01", [[None, 1e-6], [5e-6, None]], "", formats.time, scale=charts.TIME)])
    assert text.splitlines()[2].split() == ["0", ".", "1.00", "us"]
    assert text.splitlines()[3].split() == ["1", "5.00", "us", "."]


def test_a_check_says_pass_or_fail():
    check = {"what": "link", "term": "alpha", "configured": 50.0, "recovered": 51.0, "unit": "us", "passed": False}
    good = {**check, "recovered": 50.0, "passed": True}
    assert "+2.000 %  FAIL" in printed(fits.checks([check, good]))
    assert " 0.000 %  PASS" in printed(fits.checks([check, good]), full=True)
    assert printed(fits.checks([good])).strip() == "1 of 1 configured terms recovered within 1 %: PASS"


def test_a_result_says_what_makes_it_unstable():
    loose = {**row()["seconds"], "stopped": "budget", "skew": 8e-4}
    crowded = a_result(measurements=[row(seconds=loose)])
    crowded["environment"] |= {"oversubscription": 8.0, "load": [0.0], "governor": None}
    said = stability.unstable(crowded)
    assert len(said) == 3
    assert "oversubscription 8" in said[0]
    assert "1 of 1 medians" in said[1]
    assert "further apart than half" in said[2]
    assert stability.unstable({**crowded, "clock": "emulated", "measurements": [row()]}) == []


def test_too_few_repetitions_for_an_interval_are_said_and_not_claimed():
    once = {"median": 1e-3, "ci95": None, "p5": 1e-3, "p95": 1e-3, "p99": 1e-3, "n": 1, "stopped": "budget"}
    said = stability.unstable({**a_result(measurements=[row(), row(seconds=once)]), "clock": "emulated"})
    assert len(said) == 1
    assert said[0].startswith("1 of 2 jobs have fewer than 6 repetitions")
    bare = {"value": 2e-6, "ci95": None}
    assert "with 95 % intervals" not in printed(fits.fits(a_result(fits=[fitted(alpha=bare, beta=bare)])))
    assert "with 95 % intervals" in printed(fits.fits(a_result(fits=[fitted()])))


def test_a_fit_says_where_its_terms_hold_and_what_it_misses():
    parts = [{"first": 0, "last": 4096}, {"first": 8192, "last": 1 << 20}]
    terms = {"alpha": estimate(1e-6), "beta": estimate(1e-9), "gamma": None}
    worst = {"relative_error": 4.51, "bytes": 8, "ranks": 2}
    one = fitted(segments=[part | terms for part in parts], worst=worst, segmented_relative_error=0.17)
    where = "ring: alpha of 0 to 4K, beta of 8K to 1M; between them segments count"
    misses = "ring misses its own points by 17 % (median), +451 % at 8, p = 2"
    assert printed(fits.misfits([one])).splitlines() == [misses]
    assert printed(fits.misfits([one]), full=True).splitlines() == [misses, where]
    assert printed(fits.misfits([one | {"segmented_relative_error": 0.09}]), full=True).splitlines() == [where]
    assert printed(fits.misfits([one], most=0)) == ""
    assert printed(fits.misfits([one], most=0), full=True).splitlines() == [misses, where]
    text = printed(view(a_result(fits=[one], left_out=[32, 200], meaning=[])))
    assert "p = 32, 200: more than 8 ranks per core" in text
    assert "p* is not known" in text


def test_a_held_out_point_shows_its_error():
    held = [{"pattern": "ring", "ranks": 16, "bytes": 8, "measured": 1e-5, "predicted": 1.2e-5, "relative_error": 0.2}]
    text = printed(view(a_result(held_out=held, fitted_up_to=8)), full=True)
    assert "ring fitted on p <= 8 predicts p = 16: median error 20 %" in text
    assert "+20 %" in text


def test_fidelity_is_a_line_and_its_words():
    kept = {"overrun_share": 0.02, "late_p50": 0.0, "late_p99": 1e-4, "pace": 5.0, "words": "it kept time"}
    first, second = printed(common.fidelity(kept)).splitlines()
    assert first.startswith("fidelity: pace 5; 2.00% of the receives late; late by 0 us (median) and 100 us (p99)")
    assert second == "it kept time"
    assert printed(common.fidelity({**kept, "pace": None, "words": None})) == "fidelity: not paced; 0 inversions"


def links_result(checks=()):
    ends = [(0, 1), (1, 0)]
    fits = [fitted(level="link", pattern="link", source=a, destination=b, fine=a == 0) for a, b in ends]
    rows = [row(pattern="link", ranks=2, native=None, source=a, destination=b) for a, b in ends]
    return a_result(demo="links", clock="emulated", measurements=rows, fits=fits, checks=list(checks))


def test_many_checks_are_counted_and_the_failures_shown():
    good = {"what": "link 0 -> 1", "term": "alpha", "configured": 50.0, "recovered": 50.0, "unit": "us", "passed": True}
    bad = {**good, "what": "link 7 -> 3", "recovered": 60.0, "passed": False}
    text = printed(links.view(links_result([good] * 40 + [bad])))
    assert "40 of 41 configured terms recovered within 1 %: FAIL" in text
    assert "link 7 -> 3" in text
    assert "link 0 -> 1" not in text


def test_a_switch_is_put_beside_the_librarys_limit():
    result = links_result()
    cut = [{"first": 0, "last": 4096}, {"first": 4097, "last": 1 << 20}]
    terms = {"alpha": estimate(1e-6), "beta": estimate(1e-9), "gamma": None}
    result["fits"][0] |= {"segments": [{**one, **terms} for one in cut], "transport": "sm"}
    result |= {"limits": {"btl_sm_eager_limit": 4096}, "limits_from": "ompi_info"}
    text = printed(links.view(result), full=True)
    assert "switch of 0 -> 1 between 4K and 4097: the library's btl_sm_eager_limit" in text
    assert "limits of the library (ompi_info): btl_sm_eager_limit 4K" in text


DRILL = {
    "pattern": "ring",
    "ranks": 4,
    "ranks_after": 3,
    "recovery": "shrink",
    "faults": [{"text": "kill 2 @ step 5", "fired": True, "at": 0.3}],
    "outcome": "recovered",
    "phases": {"detect": 0.012, "agree": 0.003, "rebuild": 0.0, "restore": 0.0, "replay": 0.005},
    "recovery_seconds": 0.02,
    "recovery_spread": {"median": 0.02, "ci95": None, "n": 1},
    "lost_steps": 2,
    "checks": {"deaths": {"ok": True, "seen": "[2] as injected"}, "commits": {"ok": False, "seen": "39 of 40"}},
    "throughput_spread": {"before": {"median": 400.0}, "after": {"median": 500.0}},
    "overhead": {"fault_free_seconds": 0.5, "drill_seconds": 0.6},
    "repeats": [{}],
}


def lines_of(result):
    """What ``report --full`` prints, without padding."""
    return [" ".join(line.split()) for line in printed(view(result), full=True).splitlines()]


def test_a_drill_is_told_from_its_file_alone(tmp_path):
    command = ["python", "-m", "faults", "drill", "ring", "--fault", "kill 2 @ step 5"]
    results.save(a_result(demo="faults", command=command, drill=DRILL), tmp_path / "result.json")
    lines = lines_of(results.load(tmp_path))
    assert "python -m faults drill ring --fault 'kill 2 @ step 5'" in lines
    for line in (
        f"detect 0 s 12.0 ms {24 * '█'} until the first survivor learns of it",
        f"replay 15.0 ms 5.00 ms {10 * '█'} until the interrupted step is complete",
        "total 20.0 ms",
        "recovery: 20.0 ms, 2 more steps done again",
        "steps per second: 400 before, 500 after",
        "ok deaths [2] as injected",
        "FAILED commits 39 of 40",
        "recovered ring by shrink: 4 ranks, 3 after",
    ):
        assert line in lines, line


def test_a_drill_that_failed_says_where_and_medians_are_called_so():
    spread = {"median": 0.02, "ci95": [0.01, 0.03], "n": 6}
    failed = {**DRILL, "outcome": "failed", "failed_at": {"phase": "agree", "why": "silence"}, "repeats": [{}] * 6}
    failed |= {"recovery_spread": spread, "phases_spread": {"detect": {"median": 0.012, "ci95": None, "n": 6}}}
    lines = lines_of(a_result(demo="faults", drill=failed))
    assert "phases over 6 repeats: detect median 12.0 ms of 6" in lines
    assert "recovery: median 20.0 ms [10.0 ms, 30.0 ms] of 6, 2 more steps done again" in lines
    assert "not recovered ring by shrink: 4 ranks, 3 after; at phase agree: silence" in lines


def test_matrix_alarms_and_trace_are_tables():
    cell = {"pattern": "ring", "recovery": "shrink", "fault": "kill", "outcome": "recovered", "why": None}
    matrix = [{**cell, "drill": DRILL}, {**cell, "fault": "two", "outcome": "refused", "why": "too few", "drill": None}]
    sighting = {"detector": "phi", "situation": "kill", "limit_seconds": 0.2, "wrong": None}
    alarms = [
        {**sighting, "detection_seconds": 0.1, "false_alarms": []},
        {**sighting, "situation": "crowd", "detection_seconds": None, "false_alarms": [3]},
    ]
    run = {"policy": "shrink", "mtbf_s": None, "goodput": 0.99, "failures": 0, "wrong": ""}
    trace = {
        "runs": [run, {**run, "mtbf_s": 2.0, "goodput": 0.875, "failures": 3}],
        "crossovers": [{"mtbf_s": 1.5, "rare": "spare", "frequent": "shrink"}],
        "intervals": None,
    }
    lines = [
        line
        for demo, parts in {"matrix": matrix, "alarms": alarms, "trace": trace}.items()
        for line in lines_of(a_result(demo=demo, **{demo: parts}))
    ]
    for line in (
        "ring",
        "fault shrink",
        "kill 20.0 ms -2 (3)",
        "two -",
        "not run (-) ring by shrink, two: too few",
        "1 of 1 drills survived",
        "phi 100 ms 1 false",
        "shrink 99.0% (0) 87.5% (3)",
        "above an MTBF of 1.50 s spare is ahead of shrink, below it shrink",
    ):
        assert line in lines, line


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        (None, [], "cannot read"),
        ({"schema": 9}, [], "not a result file"),
        (a_result(), ["-o", "/proc/no/page.html"], "cannot write /proc/no/page.html"),
        (a_result(demo="soak", soak={"kills": 1}), [], "a field of another kind (KeyError: 'launches')"),
        (a_result(timeline=[1]), ["-o", "page.html"], "a field of another kind (AttributeError: "),
    ],
)
def test_what_cannot_be_reported_is_one_line_and_status_2(tmp_path, content, options, said):
    if content is not None:
        (tmp_path / "result.json").write_text(json.dumps(content))
    outcome = CliRunner().invoke(report, [str(tmp_path), *options])
    assert outcome.exit_code == 2
    assert outcome.stderr.count("\n") == 1
    assert any(part in outcome.stderr for part in said.split("|"))


def test_a_job_of_the_matrix_that_meets_no_fault_at_all_is_named_once() -> None:
    cells = [
        {"pattern": "ring", "recovery": policy, "fault": fault, "outcome": "refused", "why": why, "drill": None}
        for policy, fault, why in (
            ("respawn", "middle", "no"), ("respawn", "two", "no"), ("spare", "two", "no"), ("spare", "host", "else"),
        )
    ]  # fmt: skip
    items = [one.item if isinstance(one, Detail) else one for one in campaigns.matrix({"matrix": cells})]
    told = [one.text for one in items if isinstance(one, Text) and "not run" in one.text]
    assert told == ["  not run (-) ring by respawn; ring by spare, two: no", "  not run (-) ring by spare, host: else"]


def a_run():
    pairs = [{"from": f"host{a}", "to": f"host{b}", "messages": 1, "bytes": 10**7} for a in range(9) for b in range(9)]
    busy = [{"name": f"host{a} out", "messages": 1, "bytes": 10**7, "busy": 1e-3} for a in range(20)]
    traffic = {"seconds": 1.0, "messages": 81, "bytes": 81 * 10**7, "pairs": pairs, "resources": busy}
    return a_result(demo="run", clock="emulated", traffic=traffic)


def a_matrix():
    cell = {"outcome": "recovered", "why": None, "drill": DRILL}
    jobs = [(pattern, policy) for pattern in ("ring", "parameter-server", "gossip") for policy in ("shrink", "respawn")]
    return [{**cell, "pattern": a, "recovery": b, "fault": fault} for a, b in jobs for fault in ("middle", "first")]


@pytest.mark.parametrize(
    "result",
    [
        lambda: a_result(demo="faults", drill=DRILL),
        lambda: a_result(demo="matrix", matrix=a_matrix(), scenarios={"middle": "a middle rank is killed"}),
        lambda: a_run(),
        lambda: a_result(measurements=[row()], fits=[fitted()]),
        lambda: links_result(),
    ],
    ids=["drill", "matrix", "run", "ring", "links"],
)
def test_every_view_can_be_read_at_every_width(result):
    fits_every_width(list(view(result())))


def test_columns_and_pipes_are_obeyed(tmp_path, monkeypatch):
    results.save(a_result(measurements=[row()], fits=[fitted()]), tmp_path / "result.json")
    lines = {}
    for columns in ("60", "200"):
        monkeypatch.setenv("COLUMNS", columns)
        outcome = CliRunner().invoke(report, [str(tmp_path)])
        lines[columns] = outcome.output.splitlines()
        assert "\x1b" not in outcome.output
    assert max(map(len, lines["60"])) <= 60 < max(map(len, lines["200"]))
    assert any(line.startswith("without ") for line in lines["60"])
    assert not any("without" in line for line in lines["200"])
    monkeypatch.setenv("COLUMNS", "60")
    full = CliRunner().invoke(report, [str(tmp_path), "--full"]).output
    assert "without" not in full
    assert "[900, 1200]" in full
    assert max(map(len, full.splitlines())) <= 60


def test_in_a_pipe_commands_are_one_line_and_no_line_ends_in_a_blank(tmp_path, monkeypatch):
    command = ["python", "-m", "demos.ring", "--out", "a folder/" + 120 * "x", "--sizes", "8,64,512"]
    path = "/" + 100 * "p"
    found = a_result(command=command, measurements=[row()], warnings=[f"{20 * 'words and '}{path}"])
    results.save(found, tmp_path / "result.json")
    monkeypatch.setenv("COLUMNS", "80")
    output = CliRunner().invoke(report, [str(tmp_path)]).output
    assert shlex.join(command) in output.splitlines()
    assert path in output.splitlines()
    assert [line for line in output.splitlines() if line != line.rstrip()] == []


@pytest.mark.parametrize(("size", "columns"), [((0, 0), 80), ((24, 100), 100)])
def test_a_terminal_without_a_size_is_a_terminal_of_80_columns(monkeypatch, size, columns):
    monkeypatch.delenv("COLUMNS", raising=False)
    main, terminal_end = pty.openpty()
    with os.fdopen(main), os.fdopen(terminal_end, "w") as output:
        termios.tcsetwinsize(terminal_end, size)
        monkeypatch.setattr("sys.stdout", output)
        console = make_console()
        assert (console.is_terminal, console.width) == (True, columns)


def test_no_color_means_no_escape_at_all(monkeypatch):
    monkeypatch.setattr("emulator.run.console.terminal_width", lambda: 80)
    monkeypatch.setenv("TERM", "xterm-256color")
    printed_with = {}
    for value in ("", "1"):
        monkeypatch.setenv("NO_COLOR", value)
        console = make_console(file=io.StringIO())
        terminal.show([Table("bold", [Column("a")], [["1"]], notes=["dim"])], console)
        printed_with[value] = console.file.getvalue()
    assert "\x1b[1m" in printed_with[""]
    assert "\x1b" not in printed_with["1"]


def test_links_are_a_curve_for_each_pair_and_have_nothing_native():
    ends = [(0, 1), (1, 0), (0, 2)]
    rows = [row(pattern="link", ranks=2, bytes=n, source=a, destination=b) for n in (8, 1024) for a, b in ends]
    fits = [fitted(level="link", pattern="link", source=a, destination=b, fine=(a, b) != (0, 2)) for a, b in ends]
    (drawn,) = (one for one in view(a_result(demo="links", measurements=rows, fits=fits)) if isinstance(one, Series))
    assert [(curve.name, list(curve.x), curve.style) for curve in drawn.curves] == [
        (name, [8, 1024], style) if style == "points" else ("fit", [8, 1024], style)
        for name in ("0 -> 1", "1 -> 0")
        for style in ("points", "line")
    ]


def test_the_link_of_a_ring_has_no_native_curve_and_bandwidths_are_in_gigabytes():
    rows = [row(pattern=pattern, ranks=2, bytes=n) for pattern in ("link", "ring") for n in (8, 1024)]
    drawn = {one.name: one for one in view(a_result(measurements=rows)) if isinstance(one, Series)}
    assert {curve.style for curve in drawn["time-link"].curves} == {"points", "line"}
    assert {curve.style for curve in drawn["time-ring"].curves} == {"points", "line", "dotted"}
    assert drawn["busbw-ring"].y.label == "bus bandwidth, GB/s"
    assert drawn["busbw-ring"].curves[0].y[0] * drawn["busbw-ring"].y.factor == pytest.approx(1.57)


def test_fields_of_a_command_without_a_view_are_named():
    text = printed(view(a_result(demo="somebody's", speed=3, limits={})))
    assert "only in the result file: speed" in text


def test_staleness_is_a_bar_for_each_value_or_range_of_values():
    few = parameter_server.histogram("staleness", {0: 3, 1: 1, 2: 4})
    assert [(name, len(bar), share) for name, bar, share in few.rows] == [
        ("0", 30, 3 / 8),
        ("1", 10, 1 / 8),
        ("2", 40, 0.5),
    ]
    many = parameter_server.histogram("staleness", {99: 1})
    assert [many.rows[0][0], many.rows[-1][0]] == ["0-8", "99-107"]
    assert len(many.rows) == 12


@pytest.mark.parametrize(
    ("demo", "parts"),
    [
        ("faults", {"drill": DRILL}),
        ("matrix", {"matrix": []}),
        ("soak", {"soak": {"kills": 3, "launches": 1, "hangs": 0, "wrong": 0, "leftovers": 0, "failed": [],
                           "recoveries": [], "failure_rate_below": None}}),
    ],
)  # fmt: skip
def test_what_simulated_jobs_were_told_is_said_with_their_result(demo, parts):
    given = "given, not simulated: detect 6.00 ms"
    assert printed(view(a_result(demo=demo, given=given, **parts))).count(given) == 1
    assert "given" not in printed(view(a_result(demo=demo, **parts)))


def test_a_recovery_that_took_no_time_has_no_bars():
    table = drill.timeline({"phases": dict.fromkeys(("detect", "replay"), 0.0)})
    assert {row[3] for row in table.rows} == {""}


def test_one_screen_has_eight_sizes_on_the_most_ranks_and_full_has_all():
    rows = [row(ranks=p, bytes=8 << k) for p in (2, 4, 8, 16) for k in range(21)]
    warnings = [f"a reason why figures may be unstable, number {number}" for number in range(6)]
    result = a_result(measurements=rows, fits=[fitted()], warnings=warnings)
    screen = printed(view(result), 80).splitlines()
    assert len(screen) <= 40
    assert max(map(len, screen[1:])) <= 80  # the first line is a paragraph, which is wrapped when it is printed
    sizes = [line.split()[0] for line in screen if line.endswith("  0") and "1,000" in line]
    assert sizes == ["8", "64", "512", "4K", "16K", "128K", "1M", "8M"]
    assert "ring, 16 ranks" in screen
    assert sum("a reason why" in line for line in screen) == 3
    everything = printed(view(result), 150, full=True)
    assert everything.count("1,000") == len(rows)
    assert all(text in everything for text in warnings)


def test_a_fault_that_strikes_several_ranks_is_said_once():
    text = "cut 0-1|2-3 @ step 10 for 2s"
    deaths = [{"at": at, "text": text, "place": place} for at, place in ((0.0, 3), (3e-7, 2))]
    episode = {"phases": dict.fromkeys(("detect", "replay"), 1e-3), "deaths": deaths}
    assert drill.timeline(episode).title == f"0 s: {text} (ranks 2, 3)"
    faults = [{"rank": rank, "at": at, "text": text} for rank, at in ((2, 0.5), (2, 0.5), (3, 0.5), (3, 0.7))]
    found = {
        "clock": "wall", "seconds": 1.0, "events": 8, "dropped": 0, "ranks": [], "path": {}, "steps": [],
        "faster": {"seconds": 1.0, "half_alpha": 1.0, "half_beta": 1.0, "instant": 1.0}, "faults": faults,
    }  # fmt: skip
    assert list(timeline.view(found))[-2:] == [f"500.0 ms: ranks 2, 3: {text}", f"700.0 ms: rank 3: {text}"]
