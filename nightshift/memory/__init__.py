"""Memory: what was said, who may come to know it, and how it is forgotten."""
