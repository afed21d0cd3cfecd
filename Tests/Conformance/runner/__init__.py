"""Plays HTTP/1.1 conformance cases against a proxy. Python's standard library only."""
