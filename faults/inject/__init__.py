"""Making faults happen in the rank that they are planned for."""
