"""State that survives the death of a rank: copies to roll back to, and its way to the replacement."""
