"""Measuring: repetitions, microbenchmarks, statistics, fits of cost terms, predictions."""
