"""Plays the same requests against two proxies with the same configuration and compares. Python's standard library only."""
