"""What a design costs: its communication, computing, waiting and failures, by formula or message by message."""
