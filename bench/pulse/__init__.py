"""How late the pulse is, and what it costs when there is nothing to do."""
