"""Runs: ``runs``, one run's story, cancelling, requeueing, and ``why``."""

from __future__ import annotations

import json as jsons
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nightshift.base.errors import UnknownJob, UnknownRun
from nightshift.base.words import clock, money, one_line, span, stamp, when
from nightshift.cli.answers import Json, ask, note, show_facts, show_json, show_table, who
from nightshift.cli.words import instant, past
from nightshift.runs.states import State

if TYPE_CHECKING:
    from nightshift.deployment import Deployment
    from nightshift.runs.row import RunRow
    from nightshift.runs.search import WantedRuns
    from nightshift.status.why import Why
    from nightshift.store.events import Event

LIMIT = 20
#: Before a channel whose visits are asked about.
HEARTBEAT = "heartbeat:"

runs = typer.Typer(invoke_without_command=True)
RunName = Annotated[str, typer.Argument(metavar="ID", help="A run that `nightshift runs` lists.")]


@runs.callback()
def list_runs(
    context: typer.Context,
    state: Annotated[
        list[State] | None,
        typer.Option(metavar="STATE", help=f"Only {', '.join(State)}; may be given again."),
    ] = None,
    source: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only those of this job or schedule.")
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(parser=past, metavar="WHEN", help="Only those since 30m, 2h, 3d ago, or an instant."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help=f"At most so many; {LIMIT} by default.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Print changes as they happen, from --since or now on.")
    ] = False,
    json: Json = False,
) -> None:
    """
    List runs: open ones, soonest first, then ended ones, newest first.

    With --follow and --json, each change is one JSON object on a line of its own.
    """
    if context.invoked_subcommand:
        return
    from nightshift.runs.search import WantedRuns, read_runs
    from nightshift.store.pages import LOOK_THROUGH

    wanted = WantedRuns(state or tuple(State), sources_like(source) if source else None, since)
    if follow:
        ask(lambda here: _follow(here, wanted, limit, json))
        return
    page = ask(lambda here: read_runs(here.runs.ledger, wanted, limit=limit or LIMIT))
    show_runs(page.rows, json)
    if page.next and len(page.rows) < (limit or LIMIT):
        note(f"Stopped after {LOOK_THROUGH} runs; there may be more. Narrow it with --since.")


def sources_like(name: str) -> tuple[str, ...]:
    """The sources that a person may mean by this name."""
    from nightshift.jobs.row import source_of

    return name, source_of(name)


def show_run(row: RunRow) -> dict[str, Any]:
    """A run as programs see it in lists; cost in micro-USD."""
    return {
        "id": row.id,
        "source": row.source,
        "nominal": row.nominal,
        "state": row.state,
        "reason": row.reason,
        "attempts": row.attempts,
        "cost": row.cost,
        "queue": row.queue,
        "created": row.created,
        "started": row.started,
        "ended": row.ended,
        "worker": row.worker,
    }


def show_runs(rows: Any, json: bool) -> None:
    if json:
        show_json([show_run(row) for row in rows])
        return
    now = datetime.now(UTC)
    show_table(
        ("run", "state", "changed", "took", "cost", "reason"),
        [
            (
                row.id,
                row.state,
                when(row.ended or row.started or row.created, now),
                span(row.ended - row.started) if row.ended and row.started else "",
                money(row.cost) if row.cost else "",
                row.reason,
            )
            for row in rows
        ],
    )


async def _follow(here: Deployment, wanted: WantedRuns, limit: int | None, json: bool) -> None:
    left = limit
    async for event in _events(here, wanted):
        if json:
            show_json(show_event(event), lines=True)
        else:
            typer.echo(line_of(event))
        left = left and left - 1
        if left == 0:
            return


async def _events(here: Deployment, wanted: WantedRuns) -> AsyncIterator[Event]:
    from nightshift.store.client import store_now
    from nightshift.store.events import follow_events

    since = wanted.since or await store_now(here.runs.ledger.redis)
    async for event in follow_events(here.runs.ledger.redis, here.runs.ledger.keys, since=since):
        source, status = event.facts.get("source"), event.facts.get("status", State.SKIPPED)
        if status in wanted.states and (wanted.sources is None or source in wanted.sources):
            yield event


def show_event(event: Event) -> dict[str, Any]:
    """A change as programs see it, in the words of ``show_run``."""
    from nightshift.base.instants import from_ms

    facts: dict[str, Any] = dict(event.facts)
    told = {"at": event.at, "type": event.type, "id": facts.pop("run", None)}
    told["state"] = facts.pop("status", State.SKIPPED)
    facts |= {name: from_ms(facts[name]) for name in ("nominal", "ready") if name in facts}
    facts |= {name: int(facts[name]) for name in ("cost", "duration_ms", "times") if name in facts}
    return told | facts


def line_of(event: Event) -> str:
    """What happened, on one line."""
    facts = event.facts
    words = [f"{event.at.astimezone():%H:%M:%S}", f"{facts.get('status', 'skipped'):<8}"]
    words.append(facts.get("run") or f"{facts.get('source')} (a slot)")
    if "duration_ms" in facts and "worker" in facts:
        took = timedelta(milliseconds=int(facts["duration_ms"]))
        words.append(f"in {span(took)} by {facts['worker']}")
    if int(facts.get("cost", 0)):
        words.append(f"for {money(int(facts['cost']))}")
    if event.type == "run_started":
        words.append(f"by {facts['worker']}")
    if "reason" in facts:
        words.append(f"({facts['reason']})")
    return " ".join(words)


# One run


@runs.command()
def show(
    run: RunName,
    raw: Annotated[bool, typer.Option("--raw", help="The row as it is stored.")] = False,
    json: Json = False,
) -> None:
    """Tell the story of one run."""
    row = ask(lambda here: here.runs.ledger.get(run))
    if raw:
        show_json(row.raw) if json else show_facts(row.raw)
    elif json:
        show_json(_everything(row))
    else:
        _tell(row)


def _everything(row: RunRow) -> dict[str, Any]:
    return show_run(row) | {
        "task": row.task,
        "lane": row.lane,
        "ready": row.ready,
        "deadline_s": row.deadline,
        "retries": row.retries,
        "lease": row.lease,
        "task_id": row.message,
        "tenant": row.tenant,
        "agent": row.agent,
        "payload": row.payload,
        "checkpoint": row.checkpoint,
        "result": row.result,
        "costs": _costs(row),
        "story": row.story,
    }


def _costs(row: RunRow) -> dict[str, int]:
    """What each claim of it cost."""
    return {
        name.removeprefix("cost:"): int(cost) for name, cost in row.raw.items() if name.startswith("cost:")
    }


def _tell(row: RunRow) -> None:
    facts = {
        "run": row.id,
        "state": f"{row.state}: {row.reason}" if row.reason else row.state,
        "queue": row.queue,
        "nominal": clock(row.nominal),
        "attempts": f"{row.attempts} spent, {row.retries} retries",
        "worker": row.worker,
        "task id": row.message,
        "lease": f"until {clock(row.lease)}" if row.lease else "",
        "took": span(row.ended - row.started) if row.ended and row.started else "",
        "cost": ", ".join(f"{money(cost)} by claim {claim}" for claim, cost in _costs(row).items() if cost),
        "checkpoint": _plainly(row.checkpoint),
        "result": _plainly(row.result),
    }
    show_facts({name: value for name, value in facts.items() if value})
    typer.echo()
    before = [line.at for line in row.story[:1]] + [line.at for line in row.story]
    for line, (last, at) in zip(row.story, pairwise(before), strict=True):
        pause = f"+{span(at - last)}" if at > last else ""
        typer.echo(f"{stamp(at):<24}  {pause:>10}  {line.what} {line.detail}".rstrip())


def _plainly(kept: Any) -> str:
    """What a run keeps, on one line: ``name: value`` of each fact."""
    if not isinstance(kept, Mapping):
        return "" if kept is None else _value(kept)
    return ", ".join(f"{name}: {_value(value)}" for name, value in kept.items())


def _value(value: Any) -> str:
    text = value if isinstance(value, str) else jsons.dumps(value, ensure_ascii=False)
    return one_line(text, len(text))


@runs.command()
def cancel(run: RunName) -> None:
    """End a waiting run, or ask the worker of a running one to stop."""
    answer = ask(lambda here: here.runs.ledger.cancel(run, reason="cancelled by hand"))
    typer.echo(
        f"{run} is cancelled"
        if answer == "settled"
        else f"{run} is running; its worker stops it within seconds"
    )


@runs.command()
def requeue(run: RunName) -> None:
    """Let an ended run wait again, with its history and a fresh count of attempts."""
    ask(lambda here: _requeue(here, run))
    typer.echo(f"{run} waits again")


async def _requeue(here: Deployment, run: str) -> None:
    from nightshift.runs.by_hand import requeue_run

    await requeue_run(here.runs.ledger, run, by=f"by hand, {who()}")


# Why


def why(
    subject: Annotated[
        str,
        typer.Argument(
            metavar="RUN|JOB|CHANNEL",
            help="The id of a run, the name of a job, or heartbeat:PLATFORM:ID for a channel's visits.",
        ),
    ],
    at: Annotated[
        datetime | None,
        typer.Option(parser=instant, metavar="INSTANT", help="Of a job: its slot at or before this instant."),
    ] = None,
    json: Json = False,
) -> None:
    """Say why a run waits or ended as it did, what became of a job's slot, or of a channel's visits."""
    answer = ask(lambda here: _why(here, subject, at))
    if json:
        show_json(answer)
    else:
        for sentence in answer.says:
            typer.echo(sentence)


async def _why(here: Deployment, subject: str, at: datetime | None) -> Why:

    if await here.runs.ledger.find(subject):
        return await here.status.why_run(subject)
    if subject.startswith(HEARTBEAT):
        from nightshift.cli.heartbeats import why_channel_of

        return await why_channel_of(here, subject.removeprefix(HEARTBEAT).partition("@")[0])
    # A slot that made no run is asked for by the id that its run would have had.
    name, _, slot = subject.removeprefix("job:").partition("@")
    try:
        return await here.status.why_job(name, at=at or (instant(slot) if slot else None))
    except (UnknownJob, typer.BadParameter) as error:
        raise UnknownRun(
            f"{subject!r} is neither a run that is kept nor a job; "
            "`nightshift runs` and `nightshift jobs` list what there is"
        ) from error
