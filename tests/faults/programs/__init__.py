"""Small programs as a user writes them: a loop in `faults.recovering` that checks each of its own steps."""

STEPS, NET, KILLS = "PROGRAM_STEPS", "PROGRAM_NET", "PROGRAM_KILLS"
"""Environment variables: the number of steps, an emulated network to run on, and kills of ranks at seconds after the
start, after MPI's start or after the beginning of a step, as in ``2@40+0.0025,3@start+0.1,1@mpi+0``."""
