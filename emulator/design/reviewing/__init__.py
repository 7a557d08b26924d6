"""The reviewer of a sheet: contradictions, cheaper patterns, and the rules that report them."""
