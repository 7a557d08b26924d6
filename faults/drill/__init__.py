"""A drill: its request, the program of its ranks, the checks and the measured phases."""
