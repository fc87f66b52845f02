"""Holdfast: robots ride chunk buffers while GPU processes infer."""
