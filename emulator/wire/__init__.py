"""Emulated messages between real processes: transport over MPI, shared clocks, pacing, waiting."""
