"""Rank 0 sends a rate to all, and rank 1 then tells the others to start: an error that real runs hardly ever show.

The rate takes one message and the start two, so the rate is nearly always first. MPI does not promise that: it keeps
the order of messages between two ranks only.
"""

from mpi4py import MPI

comm = MPI.COMM_WORLD
rank, ranks = comm.Get_rank(), comm.Get_size()
if rank == 0:
    for other in range(1, ranks):
        comm.send(0.5, dest=other)
elif rank == 1:
    comm.recv(source=0)
    for other in range(2, ranks):
        comm.send("start", dest=other)
else:
    rate = comm.recv(source=MPI.ANY_SOURCE)
    comm.recv(source=MPI.ANY_SOURCE)
    assert rate == 0.5, f"started with the rate {rate!r}"
    print(f"rank {rank} started")
