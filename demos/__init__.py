"""One short runnable file for each demonstration: ``mpirun -n 16 python -m demos.ring``."""

from emulator.launch import mpirun

mpirun.prepare()
