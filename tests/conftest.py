"""What all tests share: property tests take the same examples every time and have no deadline of their own."""

from hypothesis import settings

# Before a test imports `demos`, which keeps a mere launcher out of MPI: some tests call MPI in pytest's own process.
from mpi4py import MPI

assert MPI.Is_initialized()

settings.register_profile("steady", deadline=None, derandomize=True, database=None)
settings.load_profile("steady")
