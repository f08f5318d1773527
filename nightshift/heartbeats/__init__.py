"""Heartbeats: now and then, an agent looks into a channel to see whether there is something to say."""
