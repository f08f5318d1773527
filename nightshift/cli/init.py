"""Setting nightshift up: ``init``, by questions or by options alone."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from nightshift.base.errors import BadSetting, NotPossible
from nightshift.cli.answers import note
from nightshift.cli.words import (
    KINDS,
    NONE,
    address,
    address_or_none,
    agent_name,
    dollars,
    in_full,
    kind_or_none,
    model_name,
    secret_in,
    zone_name,
)

MODEL_KEYS, PLATFORM_TOKEN = "model-keys", "platform-token"
LOCALTIME = Path("/etc/localtime")


def init(
    model_url: Annotated[
        str | None,
        typer.Option(
            parser=address_or_none,
            metavar="URL",
            help="An endpoint that speaks OpenAI's API; none: a simulated model.",
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(parser=model_name, metavar="NAME", help="The model to ask there.")
    ] = None,
    key_file: Annotated[
        str | None,
        typer.Option(
            parser=secret_in, metavar="FILE", help="Holds the endpoint's key, or - for standard input."
        ),
    ] = None,
    platform: Annotated[
        str | None,
        typer.Option(
            parser=kind_or_none,
            metavar="KIND",
            help=f"Where we speak: {KINDS}, {NONE} (your bot speaks itself).",
        ),
    ] = None,
    platform_url: Annotated[
        str | None,
        typer.Option(parser=address, metavar="URL", help="Where it is, for a kind that may be anywhere."),
    ] = None,
    token_file: Annotated[
        str | None,
        typer.Option(
            parser=secret_in, metavar="FILE", help="Holds the platform's token, or - for standard input."
        ),
    ] = None,
    agent: Annotated[
        str | None, typer.Option(parser=agent_name, metavar="NAME", help="What the agent is called here.")
    ] = None,
    zone: Annotated[
        str | None,
        typer.Option(parser=zone_name, metavar="ZONE", help="Where its night is, as Europe/Berlin."),
    ] = None,
    cap: Annotated[
        str | None,
        typer.Option(parser=dollars, metavar="USD", help="What a day may cost at the most; none: no cap."),
    ] = None,
    shadow: Annotated[
        bool | None, typer.Option("--shadow/--live", help="Decide everything and send nothing, at first.")
    ] = None,
    dry: Annotated[bool, typer.Option("--print", help="Show the settings; write nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace what is set up already.")] = False,
) -> None:
    """
    Set nightshift up: a model, a platform, an agent, a cap, and shadow mode.

    Asks for what no option gives, if there is somebody to ask. Keys and tokens come from files or are typed
    unseen; they go into files that only you can read, never into the settings.
    """
    home = _home()
    _refuse_to_replace(home, force=force or dry)
    asking = _Asking(_is_asked())
    where = asking.text(model_url, "Model endpoint (none: a simulated model)", NONE, address_or_none)
    simulated = where == NONE
    what = None if simulated else asking.text(model, "Model", None, model_name, option="--model")
    key = None if simulated else asking.secret(key_file, "Its key (empty if it needs none)")
    kind = asking.text(platform, f"Platform ({KINDS}, {NONE})", NONE, kind_or_none)
    needs = _needs(kind)
    spot = token = None
    if words := needs.get("url"):
        spot = asking.text(platform_url, f"Its address ({words})", None, address, option="--platform-url")
    if words := needs.get("token"):
        token = asking.secret(token_file, f"Its token ({words})", option="--token-file")
    plan = Plan(
        home=home,
        model_url=None if simulated else where,
        model=what,
        key=key,
        platform=kind,
        platform_url=spot,
        token=token,
        agent=asking.text(agent, "The agent's name", "default", agent_name),
        zone=asking.text(zone, "Its time zone", _machines_zone(), zone_name),
        cap=asking.text(cap, "What a day may cost, in dollars (none: no cap)", "1", dollars),
        shadow=asking.yes(shadow, "Shadow mode: decide everything, send nothing?", True),
    )
    text = plan.toml()
    plan.check(text)
    if dry:
        typer.echo(text, nl=False)
        return
    token_path = plan.write(text, force=force)
    _say_what_is_next(plan, token_path)


def _needs(kind: str) -> Mapping[str, str]:
    """What a platform of this kind has to be told, in the words in which it is asked for."""
    from nightshift.platforms.known import get_kind

    return {} if kind == NONE else {need.setting: need.words for need in get_kind(kind).needs}


@dataclass(frozen=True)
class _Asking:
    """Whether there is somebody to ask for what no option gave."""

    possible: bool

    def text(
        self,
        given: str | None,
        question: str,
        default: str | None,
        read: Callable[[str], str],
        *,
        option: str = "",
    ) -> str:
        """What was given, or is answered; an answer that makes no sense is told why, and asked for again."""
        if given is not None:
            return given
        if self.possible:
            return str(typer.prompt(in_full(question), default=default, value_proc=read, err=True))
        if default is None:
            raise BadSetting(f"{option} is missing, and there is nobody to ask")
        return default

    def secret(self, given: str | None, question: str, *, option: str = "") -> str | None:
        """What was given, or is typed unseen; with an option that names it, there has to be one."""
        if given is not None:
            return given
        if self.possible:
            default = None if option else ""
            return (
                str(typer.prompt(question, default=default, hide_input=True, show_default=False, err=True))
                or None
            )
        if option:
            raise BadSetting(f"{option} is missing, and there is nobody to ask")
        return None

    def yes(self, given: bool | None, question: str, default: bool) -> bool:
        if given is not None:
            return given
        return typer.confirm(question, default=default, err=True) if self.possible else default


@dataclass(frozen=True)
class Plan:
    """What will stand at home, once it is written."""

    home: Path
    model_url: str | None
    model: str | None
    key: str | None
    platform: str
    platform_url: str | None
    token: str | None
    agent: str
    zone: str
    cap: str
    shadow: bool

    @property
    def delivers(self) -> Literal["us", "bot"]:
        return "bot" if self.platform == NONE else "us"

    def toml(self) -> str:
        """The settings, without a secret among them."""
        return "".join(f"{line}\n" for line in self._lines())

    def _lines(self) -> Iterator[str]:
        from nightshift.agents.settings import DEFAULT_AGENT

        cap = _quoted(NONE) if self.cap == NONE else self.cap
        yield "# Made by `nightshift init`. docs/how-to/ tells what else may be set, subject by subject."
        yield f"shadow = {str(self.shadow).lower()}  # true: everything is decided, nothing is sent"
        yield from ("", "[budget]", f"day = {cap}  # US dollars; models are asked nothing more beyond")
        if self.model_url and self.model:
            yield from ("", "[endpoints.main]", f"url = {_quoted(self.model_url)}")
            if self.key:
                yield f"keys_file = {_quoted(str(self._secret(MODEL_KEYS)))}  # one key a line"
            yield from ("", "[models.flash]", f"name = {_quoted(self.model)}")
        if self.platform != NONE:
            yield from ("", f"[platforms.{self.platform}]", f"kind = {_quoted(self.platform)}")
            if self.platform_url:
                yield f"url = {_quoted(self.platform_url)}"
            if self.token:
                yield f"token_file = {_quoted(str(self._secret(PLATFORM_TOKEN)))}"
            if self.agent != DEFAULT_AGENT:
                yield f"agent = {_quoted(self.agent)}  # whose its channels are"
        yield from ("", f"[agents.{_bare(self.agent)}]", f"zone = {_quoted(self.zone)}")
        yield f"delivers = {_quoted(self.delivers)}  # us: by the platform above; bot: with its own voice"
        yield '# runner = "model"  # a model writes what the agent says; unset: its bot is asked for it'
        yield '# about = "Who the agent is, in a few sentences."'

    def check(self, text: str) -> None:
        """Refuse now what would be refused when it is read."""
        import tomllib

        from nightshift.settings import load_settings

        load_settings(home=self.home, **tomllib.loads(text))

    def write(self, text: str, *, force: bool) -> Path:
        """Write settings and secrets; returns where the token of the agent's bot is."""
        from nightshift.access.tokens import new_secret
        from nightshift.base.files import private_folder
        from nightshift.machine.credentials import make_bots_token, make_once

        private_folder(self.home)
        for name, secret in ((MODEL_KEYS, self.key), (PLATFORM_TOKEN, self.token)):
            if secret:
                if force:
                    self._secret(name).unlink(missing_ok=True)
                made = make_once(self.home, name, lambda secret=secret: secret)  # type: ignore[misc]
                if made.secret != secret:
                    raise NotPossible(f"{made.path} holds another secret; --force replaces it")
        made = make_bots_token(self.home, self.agent, new_secret)
        _settings_file(self.home).write_text(text)
        return made.path

    def _secret(self, name: str) -> Path:
        from nightshift.machine.credentials import secret_file

        return secret_file(self.home, name)


def _is_asked() -> bool:
    return sys.stdin.isatty()


def _home() -> Path:
    from nightshift.base.home import own_home

    return Path(os.environ.get("NIGHTSHIFT_HOME") or own_home()).expanduser().absolute()


def _settings_file(home: Path) -> Path:
    from nightshift.base.home import SETTINGS_FILE

    return home / SETTINGS_FILE


def _refuse_to_replace(home: Path, *, force: bool) -> None:
    if _settings_file(home).exists() and not force:
        raise NotPossible(f"{_settings_file(home)} is there already; edit it, or --force replaces it")


def _machines_zone() -> str:
    """The IANA name of this machine's zone, if it says so."""
    from nightshift.time.zones import zone_names

    name = str(LOCALTIME.resolve()).partition("zoneinfo/")[2]
    return name if name in zone_names() else "UTC"


def _bare(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _quoted(name)


def _quoted(text: str) -> str:
    import json

    if not text.isprintable():
        raise BadSetting(f"{text!r} holds what cannot be seen")
    return json.dumps(text, ensure_ascii=False)


def _say_what_is_next(plan: Plan, token: Path) -> None:
    typer.echo(f"Wrote {_settings_file(plan.home)}; what is secret is in {token.parent}, for you alone.")
    if plan.shadow:
        note("Shadow mode is on: `nightshift shadow` tells what would have been said.")
        note("`nightshift switches set shadow off` lets it be said.")
    note("")
    note("Next: run `nightshift up`, and give your bot")
    note("  NIGHT_URL=http://127.0.0.1:8390")
    note(f"  NIGHT_TOKEN=$(cat {token})")
    note("What it then needs, some fifteen lines, is in docs/adopt.md.")
    if plan.delivers == "bot":
        note("It says things itself: see `speak` in docs/adopt.md, step 3.")
