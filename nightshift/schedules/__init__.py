"""Schedules: reasons to work that come again, made by a person or an agent."""
