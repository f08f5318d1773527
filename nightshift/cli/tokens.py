"""Who may use the web: ``tokens``, making and revoking one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from nightshift.base.words import when
from nightshift.cli.answers import Json, ask, note, show_json, show_table
from nightshift.cli.words import duration

if TYPE_CHECKING:
    from nightshift.access.tokens import Token
    from nightshift.deployment import Deployment

ROLES = ("viewer", "operator", "admin", "bot")
SCOPES = ("metrics", "read", "operate", "admin", "agent")

tokens = typer.Typer(invoke_without_command=True)


@tokens.callback()
def list_tokens(context: typer.Context, json: Json = False) -> None:
    """List the tokens that let in: what each may do, never the token itself."""
    if context.invoked_subcommand:
        return
    found = ask(lambda here: here.access.tokens.list())
    if json:
        show_json([_facts(token) for token in found])
        return
    now = datetime.now(UTC)
    columns = ("token", "role", "may", "tenant", "agent", "made", "expires")
    show_table(
        columns,
        [
            (
                token.name,
                token.role,
                ", ".join(sorted(token.scopes)),
                token.tenant or "all",
                token.agent or "",
                when(token.created, now),
                when(token.expires, now) if token.expires else "never",
            )
            for token in found
        ],
    )


@tokens.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whom it is for; actions are told under it.")],
    role: Annotated[str, typer.Option(metavar="ROLE", help=f"One of {', '.join(ROLES)}.")] = "viewer",
    scope: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SCOPE", help=f"Only this of what the role may: {', '.join(SCOPES)}. May be given again."
        ),
    ] = None,
    tenant: Annotated[str | None, typer.Option(metavar="NAME", help="See runs of this tenant alone.")] = None,
    agent: Annotated[
        str | None, typer.Option(metavar="AGENT", help="Of a bot: the agent that it speaks for.")
    ] = None,
    expires: Annotated[
        timedelta | None, typer.Option(parser=duration, metavar="DURATION", help="Not let in after this.")
    ] = None,
    json: Json = False,
) -> None:
    """Make a token and print it, for the only time: the store keeps a hash."""
    from nightshift.access.tokens import Role, Scope
    from nightshift.base.errors import BadSetting

    for given, known in ((role, ROLES), *((each, SCOPES) for each in scope or ())):
        if given not in known:
            raise BadSetting(f"{given!r} is none of {', '.join(known)}")
    scopes = [Scope(each) for each in scope or ()]
    if agent and tenant:
        raise BadSetting("an agent's tenant is the one that the settings say; leave --tenant out")
    wanted = Role(role)

    async def make(here: Deployment) -> str:
        whose = here.agents.of(agent).tenant if agent else tenant
        return await here.access.tokens.create(
            name, wanted, scopes=scopes, tenant=whose, agent=agent, lifetime=expires
        )

    secret = ask(make)
    if json:
        show_json({"name": name, "token": secret})
    else:
        typer.echo(secret)
        note("It is shown this once. Send it as `Authorization: Bearer TOKEN`, or sign in with it.")


@tokens.command()
def revoke(name: Annotated[str, typer.Argument(metavar="NAME", help="A token that is listed.")]) -> None:
    """End a token at once, and every browser that signed in with it."""
    ask(lambda here: here.access.tokens.revoke(name))
    typer.echo(f"{name} is revoked")


def _facts(token: Token) -> dict[str, object]:
    return {
        "name": token.name,
        "role": token.role,
        "scopes": sorted(token.scopes),
        "tenant": token.tenant,
        "agent": token.agent,
        "created": token.created,
        "expires": token.expires,
    }
