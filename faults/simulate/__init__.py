"""Drills on simulated ranks: one process, simulated time, the policies' own code."""
