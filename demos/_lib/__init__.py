"""Code that demos share: data sets, training loops, timing, formulas."""
