"""How the processes of a run of the tests are known."""

MARK = "HOLDFAST_TEST_RUN"
"""In the environment of every process a test starts, however deep: finds orphans that were
re-parented away from us."""
