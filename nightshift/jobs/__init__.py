"""Periodic jobs: a row each, on or off with a reason."""
