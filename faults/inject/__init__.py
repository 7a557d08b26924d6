"""Injecting faults: each rank carries out the faults that are planned for it."""
