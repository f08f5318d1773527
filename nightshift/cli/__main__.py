"""The entry point: ``nightshift``, or ``python -m nightshift.cli``."""

from __future__ import annotations

import sys
from importlib.util import find_spec

SERVER_EXTRA = ("typer", "rich", "redis", "pydantic_settings")


def main() -> None:
    """Carry out the command, or say what is missing to do so."""
    if any(find_spec(name) is None for name in SERVER_EXTRA):
        sys.stderr.write("The command line needs the server extra: pip install 'nightshift[server]'\n")
        sys.exit(2)
    from nightshift.cli.app import app

    try:
        app(prog_name="nightshift")
    except Exception as error:
        if "--debug" in sys.argv:
            raise
        words = (
            f"Error: {type(error).__name__}: {error}. This is a bug; `nightshift --debug …` shows where.\n"
        )
        sys.stderr.write(words)
        sys.exit(1)


if __name__ == "__main__":
    main()
