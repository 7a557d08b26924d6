"""Reports of results: views make plain data of a result, renderers show it on a terminal, as plots, or as a page."""
