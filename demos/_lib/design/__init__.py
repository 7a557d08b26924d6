"""What demos.design does with a sheet: run its skeleton, drill it, and report both."""
