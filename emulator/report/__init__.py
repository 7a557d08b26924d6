"""Tables, maps and plots of results; everything here reads result data and nothing else."""
