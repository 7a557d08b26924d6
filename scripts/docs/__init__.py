"""The commands in the documents: found, run, compared with the outputs below them, and renewed (``make docs``).

A command stands in a fenced block of the language ``console``: ``$ command``, then what it prints. A line ``...``
stands for lines that are left out. Words after the language say what a test may expect:

========= ============================================================================================
``timed`` the figures were measured on a wall clock: only the words, headings and columns must agree
``slow``  a test runs a shorter form (``tests/scripts/docs/shorter.py``); `make docs` runs it as it stands
``shown`` not run as it stands: it needs another machine, or ends with a leftover of its own
========= ============================================================================================

A block whose language is followed by a file name (``toml my.toml``, ``python step.py``) is that file in the folder
in which the document's commands run, one after the other.
"""
