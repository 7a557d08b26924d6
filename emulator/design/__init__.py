"""The design sheet: six decisions in a TOML file, checked, priced, planned and varied. No MPI, no command line.

sheet = load("ctr.toml")
found = check(sheet)                      # what a reviewer asks
told = predict(sheet)                     # terms, S(p), p*, the node count to ask for, the job with failures
ranked = plan(sheet)                      # every legal design, the best first
margins = tolerance(sheet)                # how far alpha, beta, ... may grow before the answer changes
"""

from emulator.design.plan import plan
from emulator.design.pricing import predict
from emulator.design.review import check
from emulator.design.sheet import Sheet, load, parse
from emulator.design.tolerance import tolerance

__all__ = ["Sheet", "check", "load", "parse", "plan", "predict", "tolerance"]
