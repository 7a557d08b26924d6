"""What the processes of a job leave behind for others to read: status board, journal, outcome."""
