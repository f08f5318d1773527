"""How late the visits of very many channels are, and what a pass costs in which nothing changed."""
