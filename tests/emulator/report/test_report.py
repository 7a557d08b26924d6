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
from emulator.report.model import Column, Map, Series, Table
from emulator.report.views import charts, common, fits, links, parameter_server, view
from emulator.run.console import make_console
from tests.emulator.report.made import DRILL, a_matrix, a_result, a_run, estimate, fitted, printed, row
from tests.emulator.report.widths import fits_every_width


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
