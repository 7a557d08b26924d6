"""Collectives of many simulated ranks at once: their steps, recorded, and phantom payloads."""
