"""Fault plans: the grammar of fault lines, plan files, and the events that they mean for a job."""
