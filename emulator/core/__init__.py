"""What emulated messages mean: matching, network cards, changes of the network, traffic. No MPI calls."""
