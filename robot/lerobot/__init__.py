"""Robots and teleoperators of the LeRobot library (0.4 and 0.6), as it is installed: nothing of it
is changed, and nothing of it is imported before a device is made.

Source: https://huggingface.co/docs/lerobot and the library's own `lerobot.robots`, `lerobot.motors`
and `lerobot.teleoperators`.
"""
