"""The semantics of emulated messages under every transport: matching, cards, routes, clocks, changes. No MPI."""
