"""How many nodes are worth having: S(p), p*, R(p), and where communication dominates. Needs no mpirun.

Without options it prints the textbook's own example. With --from it takes the terms that a demo has measured, with
--net those of a network.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import click

from emulator import costs, results, speedup
from emulator.costs import checkpoints
from emulator.errors import UsageError
from emulator.launch import mpirun
from emulator.launch.job import rank
from emulator.report import terminal
from emulator.report.views import charts, view
from emulator.run.console import make_console
from emulator.run.one_line import OneLineCommand
from emulator.run.options import RANKS, SIZE, TIME
from emulator.speedup import Row, Speedup
from emulator.units import format_size, format_time

_FORMS = {"textbook": speedup.textbook, "ring": speedup.ring}


@click.command(name="speedup", cls=OneLineCommand)
@click.option("--t-comp", type=TIME, default="1 s", show_default=True, help="Compute time of a step on one node.")
@click.option("--alpha", type=TIME, default="0.8 ms", show_default=True, help="Latency per hop.")
@click.option("--beta", type=TIME, default="40 ms", show_default=True, help="Time to move the whole model once.")
@click.option(
    "--form",
    type=click.Choice([*_FORMS]),
    default="textbook",
    show_default=True,
    help="Latencies of a ring: p-1 as in the textbook, or 2(p-1), both passes counted.",
)
@click.option("--from", "source", metavar="RESULT", help="Take measured terms from this result file or run folder.")
@click.option("--fit", "benchmark", metavar="FILE", help="Fit terms to the text of a benchmark: nccl-tests, OSU, "
              "Intel MPI Benchmarks, or two-point timings (p=2 bytes=... seconds=...).")  # fmt: skip
@click.option("--net", "network", metavar="NAME|FILE.toml", help="Take the terms of this network.")
@click.option("--pattern", help="With --from: whose terms. Default: the only collective that was fitted. With --net: "
              "any pattern with a price. Default: ring.")  # fmt: skip
@click.option("--bytes", "size", type=SIZE, help="Bytes per step; with --from and --fit by default the most measured.")
@click.option("--nodes", type=RANKS, default=",".join(map(str, speedup.ROWS)), help="The p of the table.")
@click.option("--checkpoint", type=TIME, help="Time to write a checkpoint: the best interval between two, by Young and "
              "by Daly, and the share of time lost.")  # fmt: skip
@click.option("--mtbf", type=TIME, help="With --checkpoint: mean time between failures of one node.")
@click.option("--restart", type=TIME, default="0 s", help="With --checkpoint: time from a failure until work goes on.")
@click.option("--sensitivity", is_flag=True, help="Vary alpha and beta by 10x each way.")
@click.option("--json", "path", metavar="FILE", help="Write the result to this file.")
@click.pass_context
def main(ctx: click.Context, path: str | None, **options: Any) -> None:
    """Say how many nodes are worth having, from alpha and beta, a network, a measured result or a benchmark's text."""
    if rank() not in (None, 0):
        return  # under mpirun one table is enough
    from emulator.measure.benchmark_text import extrapolated

    origin = _one_origin(ctx)
    results.check_writable(path)
    asked = _ORIGINS[origin](**options)
    model, nodes = asked.vary(1.0, 1.0), options["nodes"]
    asked.warnings += extrapolated(asked.most_ranks, max(*nodes, model.best().p))
    variations = speedup.sensitivity(asked.vary, 1.0, 1.0) if options["sensitivity"] else []
    result = _result(asked, model, model.table(nodes), variations)
    if options["checkpoint"] is not None:
        checkpoints.check(options["checkpoint"], options["mtbf"])  # of one node, as it was given
        intervals = [checkpoints.answer(options["checkpoint"], options["mtbf"] / p, options["restart"]) for p in nodes]
        result["checkpoints"] = [{"p": p, **one} for p, one in zip(nodes, intervals, strict=True)]
    unwritten = results.keep(result, path)
    terminal.show(view(results.plain(result)), make_console())
    if unwritten is not None:
        raise unwritten


@dataclass
class Inputs:
    """The inputs of the table."""

    vary: Callable[[float, float], Speedup]  # T(p) of the terms, with alpha and beta multiplied by two factors
    about: str  # the terms in words
    terms: dict[str, Any]  # the same for the result file: alpha, beta, and where they come from
    interval: tuple[int, int] | None = None  # of p*, where one is known
    most_ranks: int | None = None  # that were measured, where something was
    warnings: list[str] = field(default_factory=list)


def _one_origin(ctx: click.Context) -> str:
    """Name the origin of the terms; refuse options that would be ignored."""
    given = {name for name in ctx.params if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE}
    origins = [name for name in ("--from", "--fit", "--net") if ctx.params[_NAMES[name]] is not None]
    if len(origins) > 1:
        got = " and ".join(origins)
        raise UsageError(f"terms are from a result, a benchmark's text or a network, got {got}: leave out one")
    origin = origins[0] if origins else ""
    for name in ("alpha", "beta", "form"):
        if origin and name in given:
            raise UsageError(f"--{name} goes without {origin}: leave out {origin}")
    if ("checkpoint" in given) != ("mtbf" in given) or ("restart" in given and "checkpoint" not in given):
        raise UsageError("--checkpoint and --mtbf go together, and --restart with them: give both, such as "
                         "--checkpoint '30 s' --mtbf '5 years'")  # fmt: skip
    if "pattern" in given and origin not in ("--from", "--net"):
        raise UsageError("--pattern goes with --from or --net: add one of them")
    if "size" in given and not origin:
        raise UsageError("--bytes goes with --from, --fit or --net: add one of them")
    if origin == "--net" and "size" not in given:
        raise UsageError("--net needs the bytes of a step, got no --bytes: add it, such as --bytes 350MB")
    return origin


def _given(t_comp: float, alpha: float, beta: float, form: str, **_: Any) -> Inputs:
    """The model of given terms, and its variation with factors on alpha and beta."""
    make = _FORMS[form]
    about = f"T_comp {t_comp:g} s, alpha {alpha:g} s, beta {beta:g} s for the whole model"
    return Inputs(lambda a, b: make(t_comp, alpha * a, beta * b), about, {"alpha": alpha, "beta": beta})


def _on_network(network: str, t_comp: float, pattern: str | None, size: int, **_: Any) -> Inputs:
    """The model of a pattern on a network: its terms as in a sheet, and the price of `emulator.costs`."""
    from emulator.design.prices import network_terms
    from emulator.design.sheets import tables

    found = network_terms.of_table(tables.Network(preset=network))  # or a file: they are told apart when it is loaded
    alpha, beta, name = found["alpha"], found["beta"], pattern or "ring"

    packets = found.get("sharing") == "packet"
    options: dict[str, Any] = {"sharing": "packet"} if packets and "sharing" in costs.pattern(name).options else {}

    def vary(a: float, b: float) -> Speedup:
        return speedup.measured(t_comp, name, size, alpha * a, beta * b, origin="on a network", **options)

    about = (
        f"T_comp {format_time(t_comp)}, {name} of {format_size(size)}, {found['origin']}: alpha {format_time(alpha)}, "
        f"beta {beta * 1e9:.4g} ns/B"
    )
    asked = Inputs(vary, about, {"alpha": alpha, "beta": beta, "gamma": 0.0, "pattern": name, "bytes": size})
    asked.terms["source"] = network
    if found.get("protocol"):
        asked.warnings.append("[protocol], [slow_start] and segments of the link have no price here")
    if packets and not options:
        asked.warnings.append(f'the price of {name} is that of messages served whole: sharing = "packet" has none')
    if found["shared"] or found["crossed"]:
        what = ", ".join(sorted({one.name for one in found["shared"]} | {found["crossed"]} - {""}))
        asked.warnings.append(f"what nodes share there ({what}) has no price here: a sheet counts it (demos.design)")
    return asked


def _fitted(benchmark: str, t_comp: float, size: int | None, **_: Any) -> Inputs:
    """The model of a ring all-reduce with the terms of a benchmark's text."""
    from emulator.design.sheets.descriptions import terms_words
    from emulator.measure import benchmark_text

    found = benchmark_text.read(benchmark)
    n, alpha, beta = int(size or found["most_bytes"]), found["alpha"], found["beta"]
    about = (f"T_comp {format_time(t_comp)}, ring of {format_size(n)}, fitted to {found['origin']}: "
             f"{terms_words(alpha, beta, 0.0, found['draws'])}")  # fmt: skip
    terms = {"alpha": alpha, "beta": beta, "gamma": 0.0, "pattern": "ring", "bytes": n, "source": benchmark}
    return _of_terms(t_comp, "ring", about, terms, found["draws"], found["most_ranks"])


def _of_terms(
    t_comp: float, form: str, about: str, terms: dict[str, Any], draws: Any, most_ranks: int | None
) -> Inputs:
    """The model of a collective with fitted terms, its variation, and the interval of p* from the fit's bootstrap."""
    n, alpha, beta, gamma = (terms[name] for name in ("bytes", "alpha", "beta", "gamma"))

    def vary(a: float, b: float) -> Speedup:
        return speedup.measured(t_comp, form, n, alpha * a, beta * b, gamma)

    return Inputs(vary, about, terms, speedup.best_interval(t_comp, form, n, draws), most_ranks)


def _measured(source: str, t_comp: float, pattern: str | None, size: int | None, **_: Any) -> Inputs:
    """The model of the terms that a demo has measured."""
    result = results.load(source)
    fit = _fit_of(result, pattern)
    name = fit["pattern"]
    rows = [row for row in result["measurements"] if row["pattern"] == name]
    if size is None and not rows:
        raise UsageError(f"this result has no measurements of {name}: say --bytes")
    n = max(row["bytes"] for row in rows) if size is None else size
    found = charts.segment(fit, n)
    alpha, beta, gamma = (found[term]["value"] if found.get(term) else 0.0 for term in ("alpha", "beta", "gamma"))
    if not alpha:
        raise UsageError(f"p* needs a latency, the fit of {name} to {format_size(n)} gives alpha 0, lost in the noise: "
                         "measure with a larger --budget")  # fmt: skip
    form = _form(rows, name, n)
    stands = "" if form == name else f", here {form},"
    about = (
        f"T_comp {format_time(t_comp)}, {name}{stands} of {format_size(n)}, measured by demos.{result['demo']} on "
        f"{result['started']}: alpha {format_time(alpha)}, beta {beta * 1e9:.4g} ns/B, gamma {gamma * 1e9:.4g} ns/B"
    )
    if len(fit["segments"]) > 1:
        about += (
            f", fitted to {format_size(found['first'])} to {format_size(found['last'])} (of all sizes: alpha "
            f"{format_time(fit['alpha']['value'])}, beta {fit['beta']['value'] * 1e9:.4g} ns/B)"
        )
    terms = {"alpha": alpha, "beta": beta, "gamma": gamma, "pattern": name, "algorithm": form, "bytes": n}
    terms |= {"source": source, "source_started": result["started"]}
    most = max((row["ranks"] for row in rows), default=None)
    asked = _of_terms(t_comp, form, about, terms, found.get("draws") or [], most)
    asked.warnings += _outside(n, rows, name)
    return asked


_ORIGINS: dict[str, Callable[..., Inputs]] = {
    "": _given, "--from": _measured, "--fit": _fitted, "--net": _on_network,
}  # fmt: skip
_NAMES = {"--from": "source", "--fit": "benchmark", "--net": "network"}


def _form(rows: Sequence[Mapping[str, Any]], name: str, n: int) -> str:
    """The pattern whose formula applies: for ``auto`` its choice on the most ranks at the nearest size below."""
    nearest = max(rows, key=lambda row: (row["bytes"] <= n, row["ranks"], row["bytes"]), default={})
    return str(nearest.get("algorithm") or name)


def _outside(n: int, rows: Sequence[Mapping[str, Any]], name: str) -> list[str]:
    """A warning if the terms are used for a size that was not measured."""
    if not rows:
        return [f"this result has no measurements of {name}: nothing says for which sizes and ranks its terms hold"]
    sizes = [row["bytes"] for row in rows]
    if min(sizes) <= n <= max(sizes):
        return []
    measured = f"{format_size(min(sizes))} to {format_size(max(sizes))}"
    return [f"{format_size(n)} lies outside of the sizes that were measured, {measured}: protocols may differ there"]


def _result(asked: Inputs, model: Speedup, rows: list[Row], variations: list[speedup.Variation]) -> dict[str, Any]:
    """The fields needed to make the table again."""
    result = results.new("speedup", ["python", *mpirun.this_program()])
    result["warnings"] = asked.warnings
    result["speedup"] = {
        "form": model.form,
        "about": asked.about,
        "t_comp": model.t_comp,
        **asked.terms,
        "rows": [row.record() for row in rows],
        **model.answers(),
        "best_ci95": asked.interval,
        "sensitivity": [asdict(one) for one in variations],
    }
    return result


def _fit_of(result: Mapping[str, Any], pattern: str | None) -> Mapping[str, Any]:
    fits = {fit["pattern"]: fit for fit in result["fits"] if fit["level"] == "collective"}
    if not fits:
        raise UsageError("--from needs a result with fitted collectives, this one has none: take one of demos.ring")
    if pattern is None and len(fits) == 1:
        return next(iter(fits.values()))
    if pattern not in fits:
        got = "no --pattern" if pattern is None else f"--pattern {pattern}"
        raise UsageError(f"this result has fits of {', '.join(fits)}, got {got}: name one of them")
    return fits[pattern]


if __name__ == "__main__":
    main()
