"""Deliveries: what was, or was not, said on a platform, one row each."""
