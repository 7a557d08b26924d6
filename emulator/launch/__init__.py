"""Finding mpirun, starting and watching a job, checking the machine."""
