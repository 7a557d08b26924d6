"""State that outlives a rank: copies to roll back to, private state on two levels, and its way to a replacement."""
