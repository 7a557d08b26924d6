"""Check, without running it, a command that a document names: its module, verb and options exist."""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import pkgutil
import re
import shlex
from collections.abc import Iterator
from functools import cache

import click

from scripts.docs.blocks import ROOT, Document

PROGRAM = re.compile(r"^(mpirun |python -m |python \w|scripts/|make )")
_PLACEHOLDER = re.compile(r"^[A-Z]+(\.\.\.)?$")
_FROM_OTHERS = {"--with-ft", "--mca", "--oversubscribe", "--hostfile", "--mpi"}
"""Options of mpirun and srun."""


class Stale(Exception):
    """A document names something that does not exist."""


def named(document: Document) -> Iterator[str]:
    """Every command line of a document: in console blocks, sentences and tables."""
    for block in document.blocks:
        for step in block.steps:
            yield step.command
    for span in document.spans():
        if PROGRAM.match(span):
            yield span


def check(command: str) -> None:
    """Check one command line, all of its alternatives (``drill|soak``, ``[--algorithm all]``).

    Raises
    ------
    Stale
        Its module, verb, option, choice, file or make target does not exist.
    """
    for part in re.split(r"\s&&\s|\s\|\s|;\s", command.replace("\\\n", " ")):
        bare = re.sub(r"\[(--.*?)\]", r"\1", part)
        try:
            words = shlex.split(bare, comments=True)
        except ValueError as error:
            raise Stale(f"{part}: {error}") from None
        _check(list(itertools.takewhile(lambda word: word not in (">", ">>", "<", "2>&1"), words)))


def _check(words: list[str]) -> None:
    while words and re.match(r"^\w+=", words[0]):
        words = words[1:]
    if not words:
        return
    program, *rest = words
    if program == "make":
        for target in rest:
            if "=" not in target and not re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE):
                raise Stale(f"make has no target {target}")
    elif program.startswith("scripts/") and not (ROOT / program).exists():
        raise Stale(f"there is no {program}")
    elif program in ("mpirun", "srun") or program.startswith("scripts/"):
        if "python" in rest:
            _check(rest[rest.index("python") :])
    elif program == "python" and rest[:1] == ["-m"]:
        _check_module(rest[1], rest[2:])
    elif program == "python" and rest and "/" in rest[0] and "..." not in rest[0] and not (ROOT / rest[0]).exists():
        raise Stale(f"there is no {rest[0]}")


def _check_module(module: str, arguments: list[str]) -> None:
    """Check the module of ``python -m``, and what its click command is given."""
    if module == "demos.cases.NAME":
        module = "demos.cases.rag"
    try:
        found = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise Stale(f"python -m {module}: no such module")
    command = command_of(module)
    if command:
        _check_arguments(command, arguments, f"python -m {module}")


@cache
def command_of(module: str) -> click.Command | None:
    """The click command that ``python -m module`` starts; None where the module is not ours."""
    if module.partition(".")[0] not in ("bench", "demos", "emulator", "faults", "scripts"):
        return None
    package = importlib.import_module(module)
    if hasattr(package, "__path__"):
        if importlib.util.find_spec(f"{module}.__main__") is None:
            return None
        package = importlib.import_module(f"{module}.__main__")
    main = getattr(package, "main", None)
    return main if isinstance(main, click.Command) else None


def _check_arguments(command: click.Command, arguments: list[str], path: str) -> None:
    context = click.Context(command, info_name=path, **command.context_settings)
    try:
        options, rest, _ = command.make_parser(context).parse_args(list(arguments))
        for option in command.params:
            value = options.get(option.name or "")
            if isinstance(option.type, click.Choice) and isinstance(value, str) and not _PLACEHOLDER.match(value):
                for one in value.split("|"):
                    option.type.convert(one, option, context)
    except click.ClickException as error:
        raise Stale(f"{path} {shlex.join(arguments)}: {error.format_message()}") from None
    if isinstance(command, click.Group) and rest and not _PLACEHOLDER.match(rest[0]):
        for verb in rest[0].split("|"):
            chosen = command.get_command(context, verb)
            if chosen is None:
                raise Stale(f"{path} has no command {verb}")
            _check_arguments(chosen, rest[1:], f"{path} {verb}")


def check_option(span: str) -> None:
    """Check that a span such as ``--net NAME`` begins with an option of some command.

    Raises
    ------
    Stale
        No command has it.
    """
    name = re.match(r"--?[a-z][\w-]*", span)
    if name and name[0] not in options() | _FROM_OTHERS:
        raise Stale(f"no command has the option {name[0]}")


@cache
def options() -> frozenset[str]:
    """The options of all commands."""
    import demos
    import demos.cases

    modules = ["emulator", "faults", "bench"]
    for package in (demos, demos.cases):
        modules += [f"{package.__name__}.{module.name}" for module in pkgutil.iter_modules(package.__path__)]
    found = (command_of(module) for module in modules if not module.rpartition(".")[2].startswith("_"))
    return frozenset(name for command in found if command for name in _options_of(command))


def _options_of(command: click.Command) -> Iterator[str]:
    for option in command.params:
        yield from [*option.opts, *option.secondary_opts]
    if isinstance(command, click.Group):
        context = click.Context(command)
        for verb in command.list_commands(context):
            chosen = command.get_command(context, verb)
            if chosen:
                yield from _options_of(chosen)
    yield from ("--help", "-h")
