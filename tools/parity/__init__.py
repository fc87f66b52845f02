"""Whether a policy does as it was trained: recorded episodes through the deployed service."""
