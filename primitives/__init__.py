"""Communication patterns as ordinary mpi4py programs.

Each takes a communicator and uses its point-to-point methods only, so that the same code runs on MPI itself and on an
emulated network. Each module's docstring is its algorithm, with the cost and the source.
"""
