"""The gateway: one page, a few JSON documents and metrics over HTTP, for people and for monitoring.

It only reads: no other actor depends on it.
"""
