"""The built-in simulator: a conveyor cell with a gantry arm and two cameras."""
