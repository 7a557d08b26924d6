"""The two ways a run can end badly that are nobody's bug."""


class UsageError(ValueError):
    """Bad usage or bad input: exit status 2.

    The message is one line that states the rule, the value received and the remedy, e.g.
    ``"quorum must be in (0 %, 100 %], got 120 %: give a share such as --quorum '95 %'"``.
    """

    exit_code = 2


class CheckFailed(RuntimeError):
    """A wrong result or a failed check: exit status 1."""

    exit_code = 1
