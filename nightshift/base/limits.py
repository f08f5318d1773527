"""Limits that both sides keep: a bot with its client, and the deployment."""

from __future__ import annotations

#: Who says more than this says too much; platforms allow far less.
LONGEST_DELIVERY = 32_000
