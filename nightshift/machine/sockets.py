"""Ports to listen on: refused with a remedy if somebody has them."""

from __future__ import annotations

import socket

from nightshift.base.errors import BadSetting


def refuse_taken_port(host: str, port: int, variable: str) -> None:
    """Refuse an address on which nothing more can listen; the variable is the one that names the port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        raise BadSetting(port_trouble(host, port, error.strerror or str(error), variable)) from error


def port_trouble(host: str, port: int | None, trouble: str, variable: str) -> str:
    return (
        f"cannot listen on {host}:{port}: {trouble.lower()}; set {variable} to another port, or 0 for none "
        f"(`ss -ltnp 'sport = :{port}'` or `lsof -i :{port}` shows who holds it)"
    )
