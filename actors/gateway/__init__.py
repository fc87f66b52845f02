"""The gateway: one page, a few JSON documents and metrics over HTTP, for people and for monitoring.

It only looks: nothing else notices its death.
"""
