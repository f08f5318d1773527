"""What the others feel of a tenant that has a hundred times as much to do."""
