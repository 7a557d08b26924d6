"""Code that several demos share: data sets, training loops, timing, formulas."""
