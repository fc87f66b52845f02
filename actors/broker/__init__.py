"""Routes between robots and replicas."""
