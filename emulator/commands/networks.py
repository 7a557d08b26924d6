"""``python -m emulator networks``: list the networks that come along, show one as a file, check one of your own."""

from __future__ import annotations

from collections.abc import Iterator

import click

from emulator.errors import UsageError
from emulator.network import NetworkSpec, Path, load, presets
from emulator.network.files import is_file, preset_path
from emulator.network.protocol import Protocol
from emulator.report import formats, terminal
from emulator.report.model import Column, Item, Map, Table
from emulator.run.console import make_console
from emulator.units import format_size

_WIDEST_MATRIX = 16


@click.group(invoke_without_command=True)
@click.pass_context
def networks(context: click.Context) -> None:
    """List the networks that --net knows by name."""
    if context.invoked_subcommand is not None:
        return
    columns = [
        Column("name", lambda network: network.name, left=True),
        Column("latency", lambda network: network.between(0, 1).alpha, formats.time),
        Column("bandwidth", lambda network: _rate(network.between(0, 1).beta)),
        Column("what it is", lambda network: network.description, left=True),
    ]
    show_as = "python -m emulator networks show NAME > my.toml writes a file to start from; --net my.toml uses it."
    terminal.show([Table.of("", columns, map(load, presets())), show_as], make_console())


@networks.command()
@click.argument("name")
def show(name: str) -> None:
    """Print a preset as a file to start from."""
    if is_file(name):
        raise UsageError(
            f"show prints a preset, {name!r} is a file's name: python -m emulator networks check {name} lays it out"
        )
    click.echo(preset_path(name).read_text(encoding="utf-8"), nl=False)


@networks.command()
@click.argument("name_or_file")
@click.option("-n", "ranks", type=click.IntRange(min=1), default=8, show_default=True, help="Lay it out for N ranks.")
def check(name_or_file: str, ranks: int) -> None:
    """Check a network file and print its hosts, its shared links and the paths between its hosts."""
    network = load(name_or_file).sized(ranks)
    hosts = f"{len(network.hosts)} hosts, {len(network.links)} shared links"
    title = f"{network.name}, laid out for {ranks} ranks (-n N for another number): {hosts}"
    if network.spec.sharing == "packet":
        title += "; messages that meet share cards and links packet by packet"
    items: list[Item] = [title, Table.of("", _HOSTS, network.describe()["hosts"])]
    if parts := list(_protocol(network.spec)):
        items.append("between hosts: " + ", ".join(parts))
    if network.links:
        more = len(network.links) - _WIDEST_MATRIX
        links = [{"shared link": link.name, "bandwidth": _rate(link.beta)} for link in network.links[:_WIDEST_MATRIX]]
        columns = [Column("shared link", left=True), Column("bandwidth")]
        items.append(Table.of("", columns, links, notes=[f"... {len(network.links)} in all"] * (more > 0)))
    indices = range(min(len(network.hosts), _WIDEST_MATRIX))
    names = [network.hosts[index].name for index in indices]
    paths = [[network.path(source, destination) for destination in indices] for source in indices]
    items.append(Map("latency, bandwidth from host (down) to host (across)", names, names, paths, form=_path))
    terminal.show(items, make_console())


def _rate(beta: float) -> str:
    return formats.rate(1 / beta if beta else None)


def _protocol(spec: NetworkSpec) -> Iterator[str]:
    """Describe the costs of messages between hosts in addition to alpha + n beta."""
    for segment in spec.segments:
        terms = f"{formats.time(segment.alpha)} and {_rate(segment.beta)}"
        yield f"messages above {format_size(segment.above)} have {terms}"
    if spec.slow_start is not None:
        window, idle = format_size(spec.slow_start.window), formats.time(spec.slow_start.idle)
        yield f"a connection begins with a window of {window}, and again after {idle} without a message"
    protocol = spec.protocol or Protocol()
    if protocol.eager_limit is not None:
        yield f"messages above {format_size(protocol.eager_limit)} wait for their receives"
    for end, overhead, byte in (
        ("sender", protocol.send_overhead, protocol.send_byte),
        ("receiver", protocol.receive_overhead, protocol.receive_byte),
    ):
        if overhead or byte:
            yield f"a message keeps its {end} busy for {formats.time(overhead)} + {byte * 1e9:.4g} ns/B"


def _path(path: Path) -> str:
    return f"{formats.time(path.alpha)} {_rate(path.beta)}"


_HOSTS = [
    Column("host", "name", left=True),
    Column("in", "group", left=True),
    Column("ranks", form=lambda ranks: ", ".join(map(str, ranks)) or "-", left=True),
    Column("slowdown", form=formats.fixed("g")),
    Column("out", "nic.egress_beta", _rate),
    Column("into", "nic.ingress_beta", _rate),
    Column("gap", "nic.gap", formats.time),
]
