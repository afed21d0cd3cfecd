"""Plays HTTP/2 conformance cases against a server. Python's standard library only."""
