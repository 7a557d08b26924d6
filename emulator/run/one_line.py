"""click commands with one-line errors and exit statuses: 1 a failed check, 2 bad usage or bad input."""

from __future__ import annotations

import errno
import importlib
import signal
import sys
import traceback
from collections.abc import Mapping
from typing import Any, NoReturn

import click

from emulator import units
from emulator.errors import CheckFailed, UsageError, check_directory
from emulator.launch import mpirun, streams
from emulator.launch.streams import print_error


class OneLineCommand(click.Command):
    """A click command with ``-h`` and one-line errors: ``@click.command(cls=OneLineCommand)``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["context_settings"] = {"help_option_names": ["-h", "--help"], **(kwargs.get("context_settings") or {})}
        super().__init__(*args, **kwargs)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.epilog = self.epilog or _units_note(self)
        super().format_epilog(ctx, formatter)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # the reader (a `head`, say) has closed our output; click would call that a failure
            streams.discard(sys.stdout)
            return 0

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # as `emulator` has left it during the imports
            signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.exit(streams.finish(self._status(*args, **kwargs)))

    def _status(self, *args: Any, **kwargs: Any) -> int:
        """Run the command and return its exit status; an error is one line."""
        try:
            # Outside standalone mode click hands back the status of --help and of ctx.exit().
            status = super().main(*args, **{**kwargs, "standalone_mode": False})
            return status if isinstance(status, int) else 0
        except SystemExit as end:
            if not isinstance(end.code, str):
                return end.code or 0
            print_error(end.code)
            return 1
        except click.exceptions.NoArgsIsHelpError as error:
            commands = ", ".join(error.ctx.command.list_commands(error.ctx))  # type: ignore[attr-defined]
            print_error(f"{error.ctx.command_path} needs a command: {commands} (see: {error.ctx.command_path} --help)")
            return 2
        except click.ClickException as error:
            hint = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else None
            # click calls the type of a number with bounds a range, and says so of a value such as 20KB.
            message = error.format_message().replace("valid integer range", "whole number")
            print_error(message.replace("valid float range", "number") + (f" (see: {hint} --help)" if hint else ""))
            return 2
        except (UsageError, CheckFailed) as error:
            print_error(str(error))
            return error.exit_code
        except (click.Abort, KeyboardInterrupt):
            print("interrupted", file=sys.stderr, flush=True)
            return 130
        except OSError as error:
            return _unwritten(error)


def _unwritten(error: OSError) -> int:
    """Exit status after an error of the file system: a removed directory, a full disk, lost standard output."""
    try:
        check_directory()
    except UsageError as removed:
        print_error(str(removed))
        return removed.exit_code
    if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EBADF):
        raise error
    if error.errno == errno.EBADF or traceback.extract_tb(error.__traceback__)[-1].name == "echo":
        streams.lose(error)
    else:
        print_error(f"cannot write {error.filename or 'a file'}: {error.strerror}; make room there")
    return 1


def _units_note(command: click.Command) -> str:
    """The note in a command's help on how sizes and times are written, if an option takes one."""
    taken = {option.type.name.lower() for option in command.params}
    notes = []
    if taken & {"size", "sizes"}:
        notes.append(f"Sizes are in bytes: {units.SIZE_HELP}.")
    if "time" in taken:
        notes.append(f"Times need a unit: {units.TIME_HELP}.")
    return " ".join(notes)


class OneLineGroup(OneLineCommand, click.Group):
    """A `click.Group` with one-line errors; its subcommands are ordinary click commands."""

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        cmd.epilog = cmd.epilog or _units_note(cmd)
        super().add_command(cmd, name)


class LazyGroup(OneLineGroup):
    """A group that imports a command's module when it is requested, because a rank or a drill needs no other.

    Parameters
    ----------
    modules : the module of each command by the command's name, which is that of the function there, too
    """

    def __init__(self, *args: Any, modules: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._modules = modules

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self._modules and cmd_name not in self.commands:
            mpirun.prepare()  # before anything imports MPI; a help text looks at all commands before `main` is called
            self.add_command(getattr(importlib.import_module(self._modules[cmd_name]), cmd_name), cmd_name)
        return super().get_command(ctx, cmd_name)
