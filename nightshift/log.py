"""Logs: one line an event, with the run it belongs to; JSON unless a person is watching."""

from __future__ import annotations

import logging
import sys
from typing import Any, Literal

import structlog


def configure_logging(style: Literal["auto", "json", "console"] = "auto", level: int = logging.INFO) -> None:
    """Send our events and everybody else's log lines the same way."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    for_people = style == "console" or (style == "auto" and sys.stderr.isatty())
    last: Any = structlog.dev.ConsoleRenderer() if for_people else structlog.processors.JSONRenderer()
    if not for_people:
        shared.append(structlog.processors.format_exc_info)

    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
