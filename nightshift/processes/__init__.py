"""Processes: what they keep, how they show that they work, how they log."""
