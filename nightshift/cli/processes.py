"""Starting processes: ``up``, ``worker``, ``beat``, ``flower`` and ``sim-llm``."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nightshift.base.errors import BadSetting
from nightshift.cli.words import duration

if TYPE_CHECKING:
    from nightshift.demo.model import FaultRule, SimulatedModel


def up(
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only say what goes wrong.")] = False,
) -> None:
    """
    Run the whole deployment on this machine until Ctrl-C.

    Redis is started unless NIGHTSHIFT_STATE_URL names one, and a simulated model unless
    NIGHTSHIFT_MODEL__URL does. Exits 0 once everything has stopped; a second Ctrl-C kills, and exits 130.
    """
    from nightshift.cli.up import run_small_profile

    raise typer.Exit(run_small_profile(quiet=quiet))


def worker(
    role: Annotated[
        str, typer.Option(metavar="ROLE", help="What it works on; see workers/roles.py.")
    ] = "all",
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Its name before the @; the role by default.")
    ] = None,
) -> None:
    """Become a Celery worker for one role: its queues, its concurrency."""
    _become("worker", "--role", role, "--name", name or role)


def community() -> None:
    """Become the demo's community: a few people who are not real, talking in two rooms."""
    from nightshift.demo.community import live

    asyncio.run(live())


def beat() -> None:
    """Become the beat: it leads when it gets the lease, and stands by until then."""
    _become("beat")


def flower() -> None:
    """Become Flower, for whoever has the credentials in NIGHTSHIFT_FLOWER_AUTH or those that `up` made."""
    from nightshift.deployment import process_settings
    from nightshift.machine.sockets import refuse_taken_port

    settings = process_settings()
    refuse_taken_port(settings.flower_host, settings.flower_port, "NIGHTSHIFT_FLOWER_PORT")
    _become("flower")


def _become(*what: str) -> None:
    from nightshift.deployment import process_settings
    from nightshift.machine.commands import checkout, environment, start_command

    settings = process_settings()
    os.environ.update(environment(settings))
    os.chdir(checkout())
    os.execv(sys.executable, start_command(*what))  # noqa: S606  no shell is wanted


def sim_llm(
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="PORT", help="Where to listen; 0 takes a free one.")
    ] = 0,
    latency: Annotated[
        timedelta,
        typer.Option(parser=duration, metavar="DURATION", help="How long every answer takes."),
    ] = "0s",  # type: ignore[assignment]  # typer parses it
    fault: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FAULT",
            help="What goes wrong: '429; retry-after=7', or a rule as JSON. May be given again.",
        ),
    ] = None,
    value: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=JSON", help="What structured answers hold under this name. Several are drawn from."
        ),
    ] = None,
    api_key: Annotated[str | None, typer.Option(metavar="KEY", help="The key callers must show.")] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Other seeds give other answers.")] = 0,
) -> None:
    """Serve a simulated model: it speaks OpenAI's protocol, costs nothing, and nothing it says is real."""
    from nightshift.demo.model import SimulatedModelOptions, serve

    options = SimulatedModelOptions(
        port=port,
        latency=latency,
        faults=tuple(map(_fault, fault or ())),
        api_key=api_key,
        seed=seed,
        values=_values(value or ()),
    )
    asyncio.run(serve(options, ready=_say_where))


def _fault(text: str) -> FaultRule:
    from nightshift.demo.model import Fault, FaultRule

    if not text.lstrip().startswith("{"):
        return FaultRule(Fault.parse(text))
    try:
        return FaultRule.from_json(json.loads(text))
    except ValueError as error:
        raise BadSetting(f"--fault {text!r} is not valid JSON: {error}") from error


def _values(given: Iterable[str]) -> dict[str, list[Any]]:
    values: dict[str, list[Any]] = {}
    for each in given:
        name, _, text = each.partition("=")
        try:
            values.setdefault(name, []).append(json.loads(text))
        except ValueError as error:
            raise BadSetting(f"--value {each!r} is not NAME=JSON: {error}") from error
    return values


def _say_where(model: SimulatedModel) -> None:
    typer.echo(f"A simulated model listens at {model.url}; nothing it says is real. Ctrl-C ends it.")
