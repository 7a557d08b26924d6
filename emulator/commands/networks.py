"""``python -m emulator networks``: list the networks that come along, show one as a file, check one of your own."""

from __future__ import annotations

import click

from emulator.network.model import Network

_WIDEST_MATRIX = 16


@click.group(invoke_without_command=True)
@click.pass_context
def networks(context: click.Context) -> None:
    """List the networks that --net knows by name."""
    if context.invoked_subcommand is not None:
        return
    from rich.table import Table

    from emulator.network import load, presets
    from emulator.units import format_rate, format_time

    table = Table(box=None, pad_edge=False)
    for heading, side in (("name", "left"), ("latency", "right"), ("bandwidth", "right"), ("what it is", "left")):
        table.add_column(heading, justify=side, overflow="fold")  # type: ignore[arg-type]
    for name in presets():
        network = load(name)
        first = network.between(0, 1)
        table.add_row(name, format_time(first.alpha), format_rate(1 / first.beta), network.description)
    _print(table)
    _print("\npython -m emulator networks show NAME > my.toml writes a file to start from; --net my.toml uses it.")


@networks.command()
@click.argument("name")
def show(name: str) -> None:
    """Print a preset as a file to start from."""
    from emulator.network.files import preset_path

    click.echo(preset_path(name).read_text(encoding="utf-8"), nl=False)


@networks.command()
@click.argument("name_or_file")
@click.option("-n", "ranks", type=click.IntRange(min=1), default=8, show_default=True, help="Lay it out for N ranks.")
def check(name_or_file: str, ranks: int) -> None:
    """Check a network file and print its hosts, its shared links and the paths between its hosts."""
    from emulator.network import load

    network = load(name_or_file).sized(ranks)
    hosts = f"{len(network.hosts)} hosts, {len(network.links)} shared links"
    _print(f"{network.name}, laid out for {ranks} ranks (-n N for another number): {hosts}", "")
    for part in (_hosts(network), _links(network), _paths(network)):
        if part is not None:
            _print(part, "")


def _hosts(network: Network) -> object:
    from rich.table import Table

    from emulator.units import format_rate, format_time

    table = Table("host", "in", "ranks", "slowdown", "out", "into", "gap", box=None, pad_edge=False)
    for host in network.describe()["hosts"]:
        nic = host["nic"]
        rates = [format_rate(1 / nic[way]) if nic[way] else "-" for way in ("egress_beta", "ingress_beta")]
        listed = ", ".join(map(str, host["ranks"])) or "-"
        table.add_row(
            host["name"], host["group"] or "-", listed, f"{host['slowdown']:g}", *rates, format_time(nic["gap"])
        )
    return table


def _links(network: Network) -> object | None:
    from rich.table import Table

    from emulator.units import format_rate

    if not network.links:
        return None
    table = Table("shared link", "bandwidth", box=None, pad_edge=False)
    for link in network.links[:_WIDEST_MATRIX]:
        table.add_row(link.name, format_rate(1 / link.beta))
    if len(network.links) > _WIDEST_MATRIX:
        table.add_row(f"... {len(network.links)} in all", "")
    return table


def _paths(network: Network) -> object:
    from rich.table import Table

    from emulator.units import format_rate, format_time

    table = Table("latency, bandwidth", box=None, pad_edge=False)
    hosts = range(min(len(network.hosts), _WIDEST_MATRIX))
    for destination in hosts:
        table.add_column(f"> {network.hosts[destination].name}", justify="right")
    for source in hosts:
        cells = [network.path(source, destination) for destination in hosts]
        texts = [f"{format_time(c.alpha)}\n{format_rate(1 / c.beta) if c.beta else '-'}" for c in cells]
        table.add_row(network.hosts[source].name, *texts)
    return table


def _print(*what: object) -> None:
    from emulator.run.console import outlasting

    console = outlasting()
    for renderable in what:
        console.print(renderable)
