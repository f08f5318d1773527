"""Every command, and what its exit code means."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

import nightshift
from nightshift.base.errors import NightshiftError
from nightshift.cli.answers import exit_code, explain, note
from nightshift.cli.budget import budget
from nightshift.cli.costs import costs
from nightshift.cli.dead import dead
from nightshift.cli.deliveries import deliveries
from nightshift.cli.forget import forget
from nightshift.cli.freeze import freeze, thaw
from nightshift.cli.health import doctor, status
from nightshift.cli.heartbeats import channels
from nightshift.cli.init import init
from nightshift.cli.jobs import jobs
from nightshift.cli.processes import beat, community, flower, sim_llm, up, worker
from nightshift.cli.runs import runs, why
from nightshift.cli.shadow import shadow
from nightshift.cli.switches import switches
from nightshift.cli.tokens import tokens
from nightshift.cli.web import web
from nightshift.cli.words import in_full

EXIT_CODES = """
Exit codes: 0 fine; 1 the answer is no, or what was asked for is not there or not possible; 2 wrong use
or wrong settings; 3 the state store cannot be reached; 130 interrupted.
"""


class Commands(TyperGroup):
    """Answers what goes wrong in a few words and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except NightshiftError as error:
            if ctx.params["debug"]:
                raise
            note(f"Error: {explain(error)}")
            raise typer.Exit(exit_code(error)) from error


class Command(TyperCommand):
    """Helps with what people type, not with the types that Python knows it by."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        parameters = self.get_params(ctx)
        arguments = [
            (each.metavar or "", each.help or "") for each in parameters if isinstance(each, TyperArgument)
        ]
        records = [each.get_help_record(ctx) for each in parameters if isinstance(each, TyperOption)]
        options = [(record[0], in_full(record[1])) for record in records if record]
        for title, rows in (("Arguments", arguments), ("Options", options)):
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


app = typer.Typer(
    cls=Commands,
    epilog=EXIT_CODES,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"nightshift {nightshift.__version__}")
        raise typer.Exit


@app.callback()
def main(
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error comes from.")] = False,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Print the version.")
    ] = False,
) -> None:
    """Everything an always-on LLM agent does while nobody is talking to it."""


app.command()(init)
app.command()(up)
app.command()(status)
app.command()(doctor)
app.add_typer(jobs, name="jobs")
app.add_typer(runs, name="runs")
app.command()(why)
app.add_typer(dead, name="dead")
app.add_typer(deliveries, name="deliveries")
app.command()(shadow)
app.add_typer(channels, name="channels")
app.add_typer(forget, name="forget")
app.add_typer(switches, name="switches")
app.add_typer(budget, name="budget")
app.command()(costs)
app.command()(freeze)
app.command()(thaw)
app.command()(worker)
app.command()(beat)
app.command()(web)
app.add_typer(tokens, name="tokens")
app.command()(flower)
app.command()(sim_llm)
app.command(hidden=True)(community)

for group in (app, *(each.typer_instance for each in app.registered_groups)):
    for command in group.registered_commands if group else ():
        command.cls = Command
