"""Collectives of many simulated ranks at once: recorded schedules, their replay in numpy, and phantom payloads."""
