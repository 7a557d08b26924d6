"""Code of the case studies: their frame, data, models and output."""
