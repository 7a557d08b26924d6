"""Agreement among the survivors of a failure, without building a communicator."""
