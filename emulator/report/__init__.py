"""Reports of results: views convert a result to plain data, renderers show it on a terminal, as plots, or as a page."""
