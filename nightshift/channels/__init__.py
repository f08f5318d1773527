"""Channels: where people and agents talk, on whatever platform."""
