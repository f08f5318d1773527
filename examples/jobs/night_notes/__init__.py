"""Looks after a folder of notes at night."""
