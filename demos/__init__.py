"""One short runnable file for each demonstration: ``mpirun -n 16 python -m demos.ring``."""

import sys

from emulator.launch import mpirun

_module = sys.orig_argv[sys.orig_argv.index("-m") + 1] if "-m" in sys.orig_argv else ""
mpirun.prepare(begin=_module.startswith("demos.") and _module not in ("demos.design", "demos.speedup"))
