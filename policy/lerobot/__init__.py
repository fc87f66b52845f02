"""Policies of the LeRobot library, unmodified and with its own processors: `policy: lerobot`.

files      the files of a checkpoint: found, hashed, read as a spec (no torch, no lerobot)
families   how each family of policies is served
policy     the policy of a replica
loaded     what was loaded against the files
"""
