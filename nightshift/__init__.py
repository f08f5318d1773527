"""Everything an always-on LLM agent does while nobody is talking to it."""

__version__ = "0.1.0"
