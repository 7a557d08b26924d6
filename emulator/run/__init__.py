"""One run of a demo: its options, its session on the ranks, its console, its environment record."""
