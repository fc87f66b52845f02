"""Policies of the LeRobot library, unmodified and with its own processors: `policy: lerobot`.

checkpoint_folder  where the files of a checkpoint are, and their hash (no torch, no lerobot)
files              what its configuration implies: the spec (no torch, no lerobot)
families           how each family of policies is served
policy             the policy of a replica
policy_library     the library's calls that load it
processor_pairs    the pre- and postprocessor of each session
loaded             what was loaded against the files
"""
