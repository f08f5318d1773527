"""The knowledge graph."""
