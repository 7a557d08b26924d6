"""One drill: what is asked, what every rank runs, how it is measured and checked."""
