"""mpi4py's communicator, requests and collectives over emulated messages."""
