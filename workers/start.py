"""Starts one process that runs Celery: ``python -m workers.start worker --role NAME | beat | flower``."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace

from nightshift.deployment import process_settings
from workers.roles import BY_NAME

#: Celery's own words for what comes in one kind only.
ARGUMENTS = {"beat": ["beat", "--pidfile="], "flower": ["flower"]}


def main() -> None:
    parser = ArgumentParser(prog="python -m workers.start")
    kinds = parser.add_subparsers(dest="kind", required=True)
    for kind in ARGUMENTS:
        kinds.add_parser(kind)
    worker = kinds.add_parser("worker")
    worker.add_argument("--role", choices=BY_NAME, default="all")
    worker.add_argument("--name")
    wanted = parser.parse_args()

    # Billiard reads this once, at its import: TERM then lets tasks finish or be handed back.
    os.environ.setdefault("REMAP_SIGTERM", "SIGQUIT")
    from workers.app import app

    sys.exit(app.start(ARGUMENTS.get(wanted.kind) or worker_arguments(wanted)))


def worker_arguments(wanted: Namespace) -> list[str]:
    """Celery's own words for a worker of this role."""
    role = BY_NAME[wanted.role]
    settings = process_settings()
    chosen = "concurrency" in settings.model_fields_set
    return [
        "worker",
        f"--hostname={wanted.name or role.name}@%h",
        f"--queues={','.join(role.queues)}",
        f"--concurrency={settings.concurrency if chosen else role.concurrency}",
        "--loglevel=INFO",
        "--without-gossip",
        "--without-mingle",
    ]


if __name__ == "__main__":
    main()
