"""LeRobotDataset v3 on disk: reading, writing, verifying. A pure format: it knows no actor."""
