"""Cameras: what OpenCV and LeRobot read, and what a camera of one's own needs."""
