"""Stop a rank of a user's loop that a cut of its emulated network leaves on the side without a quorum.

    cut(left, right), made by every rank on its own side ─► longer than the limit, and no quorum here
                                                            ─► the rank waits for the limit, then stops
                                                         ─► else it works on, or waits for the other side

Both sides judge by the same cut and by the living ranks that all agreed on last (`faults.agree.quorum`). Whatever they
judge, there is one result at most: no step is committed without all ranks that are not known to be dead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from emulator import carrier
from emulator.errors import UsageError
from faults.agree.quorum import has_quorum
from faults.recover.user_loop.program_failure import end_cut_off

if TYPE_CHECKING:
    from faults.recover.step_loop import Recovering


def check_quorum(comm: Any, limit_s: float | None) -> None:
    """Refuse a quorum that is no time, or where ranks are not notified of a cut.

    Raises
    ------
    UsageError
        MPI's own network, or no time.
    """
    if limit_s is None:
        return
    if isinstance(limit_s, bool) or not isinstance(limit_s, int | float) or not limit_s >= 0:
        raise UsageError(
            "quorum must be a number of emulated seconds >= 0 (the longest cut that stops no rank), such as 0.2, got "
            f"{limit_s!r}"
        )
    if not carrier.of(comm).timed:
        raise UsageError(
            "quorum needs an emulated network, where ranks are notified of a cut, got MPI's own: use emulator.emulate"
        )


def stop_without_quorum(loop: Recovering, comm: Any, limit_s: float | None) -> None:
    """Make this rank end in its loop when a cut by ``comm.network_state`` leaves it without a quorum.

    Parameters
    ----------
    comm : the emulated communicator that the loop was given, whose ranks a cut names
    limit_s : a cut that lasts no longer, in emulated seconds, stops no rank; None: none does
    """
    if limit_s is None:
        return
    limit, group = limit_s, comm.Get_group()

    def cut(others: set[int], windows: list[tuple[float, float]]) -> None:
        lasting = [since for since, until in windows if until - since > limit]
        members = loop.living_in(group)
        if lasting and not loop.over and not has_quorum(members - others, members):
            own = carrier.of(comm)
            own.compute(max(0.0, min(lasting) + limit - own.now()))
            end_cut_off(loop.drill, loop.step, sorted(members & others))

    comm.network_state.on_cut = cut
