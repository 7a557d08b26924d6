"""Files that a job's processes write for launcher and report: status board, journal, status files."""
