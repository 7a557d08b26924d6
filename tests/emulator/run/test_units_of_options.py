"""Every option that takes a size or a time reads it in the same way, and its command's help says how."""

import importlib

import click
import pytest

from emulator.errors import UsageError
from faults.__main__ import main as faults

DEMOS = ["compare", "federated", "incast", "links", "membership", "parameter_server", "ring"]
COMMANDS = {name: importlib.import_module(f"demos.{name}").main for name in [*DEMOS, "scatter_gather", "speedup"]}
COMMANDS |= {f"faults {name}": command for name, command in faults.commands.items()}
OPTIONS = [
    (command, option)
    for command in COMMANDS.values()
    for option in command.params
    if option.type.name.lower() in ("size", "sizes", "time")
]


@pytest.mark.parametrize(("command", "option"), OPTIONS, ids=lambda one: one.name)
def test_an_option_reads_its_unit_and_help_explains_it(command, option):
    context = click.Context(command, info_name="it")
    text = " ".join(command.get_help(context).split())
    if option.type.name.lower() == "time":
        assert option.type.convert("1 d", option, context) == 86400
        assert "Times need a unit: ns, us, ms, s, min, h, d or years." in text
        with pytest.raises(UsageError, match="got '50'"):
            option.type.convert("50", option, context)
    else:
        assert option.type.convert("350MB", option, context) in (350 * 10**6, [350 * 10**6])
        powers = "kB, MB, GB, TB are powers of 1000, KiB, MiB, GiB, TiB and the bare K, M, G, T of 1024"
        assert powers in text
