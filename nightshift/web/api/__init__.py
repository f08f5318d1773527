"""The HTTP API, version 1: what programs may read and do, one file a noun."""
