"""Speed and memory claims, measured: ``make bench`` or ``python -m bench [NAME ...]``.

A module of this package offers ``rows(budget)``: a list of mappings with ``name``, ``ours``, ``other`` (or None),
``ratio`` (or None), ``unit``, ``target`` (words, or "") and ``met`` (True, False or None). Everything is compared
in one run, as medians over interleaved repetitions, because machines drift.
"""
