"""State that survives the death of a rank: copies to roll back to, private state on two levels, sending it to new
ranks.
"""
