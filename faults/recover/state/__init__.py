"""State that survives the death of a rank: copies to roll back to, and private state on two levels."""
