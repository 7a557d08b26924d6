"""A run of a demo: its options, its ranks, its console, its environment record."""
