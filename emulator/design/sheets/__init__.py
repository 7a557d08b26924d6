"""A design sheet as a file: its tables and fields, how it is read, written, described and drawn."""
