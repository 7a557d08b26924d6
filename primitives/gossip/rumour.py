"""Rumour spreading: one rank's message reaches all ranks by random contacts.

    push        informed ranks send to a random rank       k, 2k, 4k, ... then slow: the last ones are hard to hit
    pull        uninformed ranks ask a random rank         slow start, then their share is squared in each round
    push-pull   one contact, both ways                     fast start and fast end

Rounds are synchronous: in each, every rank contacts one random neighbour. A contact by an uninformed rank is an empty
message, so that every receive completes; the length tells. All ranks draw the same contacts from (seed, round), so
every receive names its source and a run can be repeated.

Cost: every rank sends one message per round (two with pull: the contact and its answer); only those that carry
the rumour have n bytes. A round takes alpha + n beta with push, 2 alpha + n beta with pull, more where several
contacts meet at one receiver. Rounds on a complete graph: `distribution`, exactly; push: floor(lg p) + ln p - 1.116
<= E[rounds] <= ceil(lg p) + ln p + 2.765 + o(1).

A dead rank neither sends nor receives; the others reach one another all the same.

Sources: Demers et al., "Epidemic algorithms for replicated database maintenance" (PODC 1987); Karp, Schindelhauer,
Shenker and Voecking, "Randomized rumor spreading" (FOCS 2000); bounds: Doerr and Kuennemann, "Tight analysis of
randomized rumor spreading in complete graphs" (ANALCO 2014).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from emulator.errors import UsageError
from primitives.gossip.graphs import Contacts, Graph, complete
from primitives.peers import Peers

MODES = ("push", "pull", "push-pull")
_LARGEST_EXACT = 256
_CONTACT, _ANSWER = 621, 622
_NOTHING = np.empty(0, np.uint8)


@dataclass
class Heard:
    """The outcome of a rumour on one rank.

    Attributes
    ----------
    at : round in which it learned the rumour, from 1; 0 at the origin; None: never
    rounds : rounds that were run
    messages, informative : messages that this rank sent, and how many of them carried the rumour
    """

    at: int | None
    rounds: int
    messages: int = 0
    informative: int = 0


def spread(
    comm: MPI.Intracomm | Peers,
    rumour: NDArray,
    origin: int = 0,
    *,
    mode: str = "push",
    rounds: int | None = None,
    graph: Graph | None = None,
    seed: int = 0,
) -> Heard:
    """Spread `rumour` from position `origin` to all members.

    Parameters
    ----------
    rumour : contiguous array of the same shape and dtype everywhere, at least one byte; overwritten where it arrives
    mode : one of `MODES`
    rounds : absent: so many that all are informed with probability 1 - 1e-6 (complete graph only)
    graph : the neighbours that a rank may contact; absent: all others

    Raises
    ------
    UsageError
        Unknown mode, an empty rumour, an origin that is not a member, a graph that is not connected or of another
        size, or a graph without `rounds`.
    """
    peers = Peers.of(comm)
    contacts = (graph or complete(peers.size)).contacts
    rounds = _check(peers, rumour, origin, mode, rounds, graph)
    heard = Heard(0 if peers.rank == origin else None, rounds)
    for k in range(1, rounds + 1):
        peers.carrier.phase("rumour", round=k)
        _round(peers, rumour, heard, contacts(seed, k), mode, k)
    return heard


def _check(peers: Peers, rumour: NDArray, origin: int, mode: str, rounds: int | None, graph: Graph | None) -> int:
    if mode not in MODES:
        raise UsageError(f"a rumour spreads by {', '.join(MODES)}, got {mode!r}")
    if rumour.nbytes == 0 or not rumour.flags.c_contiguous:
        raise UsageError("a rumour must be a contiguous array of at least one byte, empty messages stand for none")
    if not 0 <= origin < peers.size:
        raise UsageError(f"a rumour starts at a position between 0 and {peers.size - 1}, got {origin}")
    if graph is not None:
        graph.check_connected().check_size(peers.size)
        if rounds is None:
            raise UsageError(f"how long a rumour takes on '{graph.name}' is not known: give the number of rounds")
    if peers.size == 1:
        return 0
    return rounds_needed(peers.size, mode) if rounds is None else rounds


def _round(peers: Peers, rumour: NDArray, heard: Heard, contacts: Contacts, mode: str, number: int) -> None:
    """Do one round: contacts, then, with pull, answers. A rank informed in it forwards the rumour from the next."""
    me, knew = peers.rank, heard.at is not None
    target, callers = contacts.targets[me], contacts.callers[me]
    carries = knew and mode != "pull"
    came = _deliver(peers, rumour, heard, [(target, carries)], callers, _CONTACT)
    if mode != "push":
        # A caller that brought the rumour needs no answer but an empty one.
        answers = [(i, knew and i not in came) for i in callers]
        came |= _deliver(peers, rumour, heard, answers, [target], _ANSWER)
    if came and not knew:
        heard.at = number


def _deliver(
    peers: Peers, rumour: NDArray, heard: Heard, sends: list[tuple[int, bool]], sources: list[int], tag: int
) -> set[int]:
    """Exchange messages with or without the rumour; returns the positions whose message had it."""
    boxes = {i: np.empty_like(rumour) for i in sources}
    arrived = peers.exchange([(j, rumour if full else _NOTHING) for j, full in sends], list(boxes.items()), tag)
    heard.messages += len(sends)
    heard.informative += sum(full for _, full in sends)
    bringers = {i for i, count in arrived.items() if count}
    if bringers and heard.at is None:
        rumour[...] = boxes[min(bringers)]
    return bringers


def traffic(
    p: int, n: int, mode: str = "push", *, rounds: int, origin: int = 0, graph: Graph | None = None, seed: int = 0
) -> tuple[list[list[list[tuple[int, int]]]], int | None]:
    """Compute the messages of `spread` with a rumour of n bytes, from the random draws alone.

    Returns
    -------
    (list, int)
        For every exchange (a round of push is one, a round with answers two) and rank its messages (receiver, bytes),
        as `emulator.costs.timeline` takes them; and the round in which the last rank learns, None if none does.
    """
    table = graph or complete(p)
    knows = np.zeros(p, bool)
    knows[origin] = True
    exchanges, last = [], 0 if p == 1 else None
    for k in range(1, rounds + 1):
        contacts = table.contacts(seed, k).targets
        pushed = [bool(knows[i]) and mode != "pull" for i in range(p)]
        exchanges.append([[(contacts[i], n * pushed[i])] for i in range(p)])
        after = knows.copy()
        after[[contacts[i] for i in range(p) if pushed[i]]] = True
        if mode != "push":
            answers: list[list[tuple[int, int]]] = [[] for _ in range(p)]
            for i, target in enumerate(contacts):
                tells = bool(knows[target]) and not pushed[i]
                answers[target].append((i, n * tells))
                after[i] |= tells
            exchanges.append(answers)
        knows = after
        if last is None and knows.all():
            last = k
    return exchanges, last


@lru_cache(maxsize=64)
def distribution(p: int, mode: str = "push") -> tuple[float, ...]:
    """P(all ranks are informed after at most r rounds), r = 0, 1, ..., up to 1 - 1e-12, on a complete graph.

    A Markov chain on the number k of informed ranks. Push: k calls into p - 1 ranks hit j new ones (balls into
    bins, call by call). Pull: each uninformed rank succeeds with probability k / (p - 1). Push-pull: first one,
    then the other for those not hit; the two are independent.
    """
    if mode not in MODES:
        raise UsageError(f"a rumour spreads by {', '.join(MODES)}, got {mode!r}")
    if not 1 <= p <= _LARGEST_EXACT:
        raise UsageError(f"the exact distribution is for 1 to {_LARGEST_EXACT} ranks, got {p}: use the bounds")
    steps = {k: _transition(p, k, mode) for k in range(1, p)}
    state = np.zeros(p + 1)
    state[1] = 1.0
    done = [float(state[p])]
    while done[-1] < 1 - 1e-12:
        following = np.zeros(p + 1)
        following[p] = state[p]
        for k in range(1, p):
            following[k:] += state[k] * steps[k]
        state = following
        done.append(float(state[p]))
    return tuple(done)


def _transition(p: int, k: int, mode: str) -> NDArray[np.float64]:
    """P(k informed become k + j), j = 0 .. p - k."""
    fresh = np.arange(p - k + 1)
    new = np.zeros(p - k + 1)
    new[0] = 1.0
    if mode != "pull":
        for _ in range(k):
            hit = new * (p - k - fresh) / (p - 1)
            new = new - hit
            new[1:] += hit[:-1]
    if mode == "push":
        return new
    both = np.zeros_like(new)
    for j in range(p - k + 1):
        left = p - k - j
        q = k / (p - 1)
        both[j:] += new[j] * np.array([math.comb(left, i) * q**i * (1 - q) ** (left - i) for i in range(left + 1)])
    return both


def expected_rounds(p: int, mode: str = "push") -> float | None:
    """E[rounds] on a complete graph of p <= 256 ranks, exactly; None for more."""
    return None if p > _LARGEST_EXACT else float(sum(1 - done for done in distribution(p, mode)))


def rounds_needed(p: int, mode: str = "push", failure: float = 1e-6) -> int:
    """Number of rounds after which some rank is still uninformed with probability at most `failure`."""
    if p <= _LARGEST_EXACT:
        return next(r for r, done in enumerate(distribution(p, mode)) if 1 - done <= failure)
    # The tail is the coupon collector's: every further round divides what is left by at least e.
    return math.ceil(math.log2(p) + math.log(p) + 2.765 + math.log(1 / failure))
