"""Logs: one line an event, with the run it belongs to and no secret; JSON unless a person is watching."""

from __future__ import annotations

import logging
import sys
from typing import Any, Literal

import structlog

from nightshift.base.masking import masked


def configure_logging(style: Literal["auto", "json", "console"] = "auto", level: int = logging.INFO) -> None:
    """Send our events and everybody else's log lines the same way."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    for_people = style == "console" or (style == "auto" and sys.stderr.isatty())
    # structlog's own choice for people shows the values of variables, and with them keys and passwords.
    plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    renderer: Any = plain if for_people else structlog.processors.JSONRenderer()
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
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                renderer,
                _without_secrets,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(True)


def _without_secrets(_logger: object, _method: str, line: Any) -> str:
    return masked(line)
