"""Small programs as a user writes them: a loop in `faults.recovering` that checks each of its own steps."""
