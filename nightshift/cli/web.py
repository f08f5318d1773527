"""Serving the web."""

from __future__ import annotations


def web() -> None:
    """
    Serve the console, the HTTP API, probes and metrics until it is stopped.

    On 127.0.0.1:8390 unless NIGHTSHIFT_WEB_HOST and NIGHTSHIFT_WEB_PORT say otherwise; for whoever shows a
    token that `nightshift tokens create` or `nightshift up` made.
    """
    from nightshift.deployment import process_settings
    from nightshift.machine.sockets import refuse_taken_port
    from nightshift.web.serve import serve

    settings = process_settings()
    refuse_taken_port(settings.web_host, settings.web_port, "NIGHTSHIFT_WEB_PORT")
    serve(settings)
