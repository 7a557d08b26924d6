"""The patterns that a drill runs: a module with a function `run` for each; `catalogue` describes them without MPI."""
