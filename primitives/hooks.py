"""Named points inside the algorithms, where a fault can strike.

An algorithm calls ``hooks.phase("all_gather")`` as it enters a phase. As delivered that does nothing (some 50 ns);
a fault injector puts its own function in place::

    from primitives import hooks

    def strike(name, **info):
        if name == "all_gather" and step == 20:
            os.kill(os.getpid(), signal.SIGKILL)

    hooks.phase = strike

Callers must therefore say ``hooks.phase(...)`` and never import the function by its own name.
"""

from __future__ import annotations

from collections.abc import Callable


def _pass(name: str, **info: object) -> None:
    """Nothing happens here."""


phase: Callable[..., None] = _pass
"""Called with the phase's name, and what else is worth knowing there as keywords: `step` is the number of the step
that is dealt with, where it is not that which this rank itself is at (a server applies what its workers push)."""


def reset() -> None:
    """Let nothing happen again at any named point."""
    global phase
    phase = _pass
