"""Communication patterns, written once over whatever communicator they are given."""
