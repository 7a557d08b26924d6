"""What emulated messages mean under every transport: matching, cards, routes, clocks, network changes. No MPI."""
