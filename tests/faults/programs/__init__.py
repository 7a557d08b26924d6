"""Small programs as a user writes them: a loop in `faults.recovering` that checks each of its own steps."""

STEPS, KILLS = "PROGRAM_STEPS", "PROGRAM_KILLS"
"""Environment variables: the number of steps, and kills as in ``2@loop+0.25,3@start+0.1``: of ranks, in seconds."""
