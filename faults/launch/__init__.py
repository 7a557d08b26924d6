"""Starting a job with faults, watching it from outside, starting it again."""
