"""
The command line: ``nightshift``.

Modules here import what takes time inside the commands that need it, so that each starts at once.
"""
