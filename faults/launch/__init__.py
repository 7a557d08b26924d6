"""Launching a job with faults, its watchdog, and relaunching it."""
