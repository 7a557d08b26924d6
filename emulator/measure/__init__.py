"""Timing of operations, microbenchmarks, statistics, fits of cost terms, predictions."""
