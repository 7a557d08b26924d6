"""Injecting faults: each rank carries out those that are planned for it."""
