"""What a reviewer asks of a sheet: contradictions, cheaper patterns, and the rules that name them."""
