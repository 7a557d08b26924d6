"""The timeline of a run: what each rank did when, and what the whole run waited for.

`recorder` writes the events of a rank to a file, `loading` reads those of all ranks, `activity` and `critical_path`
say where the time went, and `perfetto` and `diagram` show it. Only `traced_*` and `tracing` need MPI.
"""
