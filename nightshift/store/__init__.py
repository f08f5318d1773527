"""The state store as every feature meets it: its client, names of keys, scripts, pages, events, graphs."""
