"""What emulated messages mean, whoever carries them: matching, cards, routes, clocks, network changes. No MPI."""
