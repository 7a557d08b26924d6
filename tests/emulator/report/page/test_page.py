"""The page of a run: self-contained, with every figure's data, and the very values of the result file."""

import itertools
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner

from demos import design, gossip, parameter_server, scatter_gather
from demos.cases import swarm
from emulator import results
from emulator.commands.report import report
from emulator.errors import CannotWrite
from emulator.report import page
from emulator.report.model import Axis, Curve, Map, Series
from emulator.report.page.figures import figures
from emulator.report.views import finding
from emulator.units import format_time
from tests.emulator.report.test_report import DRILL, a_matrix, a_result, a_run, fitted, links_result, row

SIZES = (8, 1024, 1 << 20)
CASES = Path(design.__file__).parent / "cases"


def a_ring():
    rows = []
    for n, p in itertools.product(SIZES, (2, 4)):
        took = 1e-3 * p * (1 + n / 1e5)
        seconds = {"median": took, "ci95": [0.9 * took, 1.2 * took], "n": 30}
        rows.append(row(bytes=n, ranks=p, predicted=1.1 * took, held_out=p == 4, seconds=seconds))
    best = {"p": 34, "speedup": 7.489, "efficiency": 0.2203, "ratio": 3.54}
    meaning = {"pattern": "ring", "algorithm": "ring", "bytes": 1 << 20, "t_comp": 0.1, "form": "measured: ring",
               "terms": {"alpha": 2e-6, "beta": 5e-10, "gamma": 0.0}, "textbook": None, "best": best,
               "best_ci95": [30, 40], "dominated": {"p": 13, "speedup": 6.24}, "knee": {**best, "p": 25},
               "efficient": {**best, "p": 16}}  # fmt: skip
    fit = fitted(draws=[[2e-6, 5e-10, 0.0], [2.2e-6, 5.5e-10, 0.0]])
    return a_result(measurements=rows, fits=[fit], meaning=[meaning], warnings=["few <repetitions>"])


PROGRAM = {
    "policy": "shrink", "status": 0, "launches": 1,
    "recoveries": [{"dead": [2], "at": 1.5, "seconds": 0.02, "told": "rank 2 died in step 40"}],
    "ends": [{"rank": 2, "launch": 1, "at": 1.5, "how": "rank 2 was killed by SIGKILL"},
             {"rank": 0, "launch": 1, "at": 2.5, "how": "rank 0 ended itself with exit status 0"}],
}  # fmt: skip

RESULTS = {
    "ring": a_ring,
    "links": links_result,
    "run": a_run,
    "drill": lambda: a_result(demo="faults", drill=DRILL),
    "program": lambda: a_result(demo="program", program=PROGRAM),
    "matrix": lambda: a_result(demo="matrix", matrix=a_matrix(), scenarios={"middle": "a middle rank is killed"}),
    "empty": a_result,
    "foreign": lambda: a_result(demo="somebody's", speed=3),
}


class Read(HTMLParser):
    """What a test asks of a page: its values, its figures, what is open and what it loads."""

    VOID = ("meta", "input", "path", "use", "circle", "rect", "img", "br")

    def __init__(self, text):
        super().__init__()
        self.values, self.figures, self.open, self.loads, self.text = [], [], [], [], ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        of = dict(attrs)
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "data":
            self.values.append(float(of["value"]))
        if tag == "figure":
            self.figures.append({})
        if self.figures and "figure" in self.open:
            self.figures[-1].setdefault("chart" if of.get("class") == "chart" else tag, of)
        self.loads += [of[name] for name in ("src", "href") if name in of and not of[name].startswith(("#", "data:"))]

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize("make", RESULTS.values(), ids=RESULTS)
def test_a_page_is_whole_and_loads_nothing(make):
    result = make()
    text = page.render([results.plain(result)])
    read = Read(text)
    assert not read.open
    assert not read.loads
    assert "url(" not in text
    assert "@import" not in text
    assert len(text) < 1_000_000
    assert finding(result) in read.text
    assert "python -m demos.ring -n 4" in read.text
    assert all(figure["chart"]["aria-label"] and figure["chart"]["tabindex"] == "0" for figure in read.figures)
    assert all({"figcaption", "details", "table"} <= set(figure) for figure in read.figures)


def test_a_page_of_very_many_figures_is_below_1_mb_and_says_what_it_leaves_out():
    many = [row(bytes=n, ranks=p) for p in (2, 4) for n in range(8, 1000)]
    text = page.render([results.plain(a_result(measurements=many))])
    assert len(text) < 1_000_000
    assert "the first 400 of 992 rows; result.json has all" in text


def test_a_legend_has_the_colours_of_its_curves_and_grey_for_names_of_several_curves():
    curves = [Curve(name, [1, 2], [1, 2], style="line", group=group)
              for name, group in (("a", 1), ("a, fitted", 1), ("b", 2), ("native", 1), ("native", 2))]  # fmt: skip
    (one,) = figures([Series("s", "times", Axis("x"), Axis("y"), curves)])
    assert {key.name: key.colour for key in one.legend} == {"a": 0, "a, fitted": 0, "b": 1, "native": -1}


def test_a_map_of_many_ranks_shows_the_medians_of_blocks_of_pairs():
    p, took = 70, Axis("time", form=format_time)
    names = [str(rank) for rank in range(p)]
    values = [[None if a == b else 1e-6 * (a + b) for b in range(p)] for a in range(p)]
    (one,) = figures([Map("time from rank to rank", names, names, values, scale=took)])
    assert one.table.rows[0][:2] == ["0 to 2", 2e-6]  # of 1, 2, 1, 3, 2, 3 us
    assert one.table.rows[-1][0] == "69"
    assert len(one.table.rows) == len(one.table.columns) - 1 == 24
    assert one.about == "Each square is the median of 3 x 3 pairs; result.json has each of them."
    assert len(one.svg) < 200_000


def test_a_map_of_values_that_differ_by_rounding_has_one_shade_and_one_value():
    for off, shades in ((1e-14, {"0.500"}), (0.5, {"0.000", "1.000"})):
        values = [[None, 2e-5], [2e-5 * (1 + off), None]]
        (one,) = figures([Map("alpha", "01", "01", values, scale=Axis("time", form=format_time))])
        assert set(re.findall(r"--q:(\d\.\d{3})", one.svg)) == shades
        assert one.svg.count('class="cell"') == (5 if off > 1e-9 else 1)  # shades of the legend
        assert one.svg.count(f">time {format_time(2e-5)}<") == 1  # the least


def test_the_figures_of_a_page_are_those_of_the_result_file(tmp_path):
    results.save(a_ring(), tmp_path / "result.json")
    result = results.load(tmp_path)
    page.write(tmp_path / page.PAGE, [result])
    values = Read((tmp_path / page.PAGE).read_text()).values
    for one in result["measurements"]:
        for value in (one["seconds"]["median"], one["predicted"], one["native"]["median"], one["bytes"]):
            assert value in values
    best = result["meaning"][0]["best"]
    assert best["p"] in values


@pytest.mark.parametrize("kind", ["links", "drill"])
def test_the_times_of_other_pages_are_those_of_the_result_file(tmp_path, kind):
    results.save(RESULTS[kind](), tmp_path / "result.json")
    result = results.load(tmp_path)
    values = Read(page.render([result])).values
    medians = [one["seconds"]["median"] for one in result["measurements"]]
    wanted = {"links": medians, "drill": list((result["drill"] or {}).get("phases", {}).values())}[kind]
    assert wanted
    assert set(wanted) <= set(values)


def _times(result):
    """What a page must show: times of measurements and of a design's terms, figures of a case."""
    rows = (result.get("design_run") or {}).get("rows", ())
    times = [one["seconds"]["median"] for one in result["measurements"]]
    times += [one["predicted"] for one in (*result["measurements"], *rows) if one.get("predicted") is not None]
    tables = [item["rows"] for item in result.get("case") or () if "rows" in item]
    times += [value for value in itertools.chain.from_iterable(itertools.chain(*tables)) if isinstance(value, float)]
    return times + [one["measured"] for one in rows]


NET = ("--net", "10gbe", "--sizes", "8K,64K", "--budget", "1")
SIMULATED = {
    "gossip": (gossip.main, "--simulate", "4", *NET),
    "parameter server": (parameter_server.main, "--simulate", "4", "--steps", "10", *NET),
    "scatter-gather": (scatter_gather.main, "--simulate", "4", "--documents", "300", *NET),
    "design run": (design.main, "run", str(CASES / "example_a.toml"), "--simulate", "4", "--cap", "4K"),
    "case": (swarm.main, "--simulate", "4", "--net", "home"),
}


@pytest.mark.parametrize("kind", SIMULATED)
def test_the_times_on_the_page_of_a_simulated_run_are_those_of_its_result_file(tmp_path, kind):
    demo, *arguments = SIMULATED[kind]
    done = CliRunner().invoke(demo, [*arguments, "--quiet", "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    wanted = _times(results.load(tmp_path))
    assert len(wanted) >= 4
    assert set(wanted) <= set(Read((tmp_path / page.PAGE).read_text(encoding="utf-8")).values)


def test_texts_of_a_result_are_no_markup():
    text = page.render([a_ring()])
    assert "few &lt;repetitions&gt;" in text
    assert "<repetitions>" not in text


def test_switches_intervals_and_held_out_points_are_on_the_charts():
    result = a_ring()
    cut = [{"first": 0, "last": 4096}, {"first": 4097, "last": 1 << 20}]
    result["fits"][0]["segments"] = [{**fitted(), **one} for one in cut]
    text = page.render([result])
    assert "switch at 4K" in text
    assert "held out" in text
    assert re.search(r"p = 4: size 1M, time 45.9 ms, 95 % \[\d", text)


def test_several_results_stand_side_by_side_in_one_page(tmp_path):
    names = ("ring", "again", "links")
    for name in names:
        (tmp_path / name).mkdir()
        results.save(RESULTS.get(name, a_ring)(), tmp_path / name / "result.json")
    file = tmp_path / "all.html"
    outcome = CliRunner().invoke(report, [*(str(tmp_path / name) for name in names), "-o", str(file)])
    assert (outcome.exit_code, outcome.output) == (0, f"written: {file}\n")
    text = file.read_text()
    read = Read(text)
    assert not read.open
    assert text.count("<article") == 3
    assert "ring 1, p = 4: size 1M" in text
    assert "ring 2, p = 4: size 1M" in text
    assert "links, p = 2" not in text  # no other run has measured links


def test_a_page_that_cannot_be_written_is_said_and_leaves_the_result(tmp_path):
    (tmp_path / page.PAGE).mkdir()
    results.save(a_result(), tmp_path / "result.json")
    problem = page.keep(tmp_path, a_result())
    assert isinstance(problem, CannotWrite)
    assert problem.exit_code == 1
    assert str(tmp_path / page.PAGE) in str(problem)
    assert sorted(file.name for file in tmp_path.iterdir()) == [page.PAGE, "result.json"]
