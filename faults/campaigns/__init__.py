"""Many drills in a row: the matrix, the soak, detectors' alarms, failure traces."""
