"""
What the deployment is told: environment, ``nightshift.toml``, secret files, in that order.

Every feature brings its section (``settings.py`` in its folder); here they are one frozen object, read once
per process by whoever makes a ``Deployment``, and mistakes are explained. A feature is handed its section.
What may change while everything runs lives in ``controls``.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from nightshift.access.settings import AccessSection
from nightshift.agents.settings import DEFAULT_AGENT, AgentsSection
from nightshift.base.errors import BadSetting
from nightshift.base.home import PREFIX, SETTINGS_FILE, default_home, demo_home, simulated_model
from nightshift.controls.settings import ControlsSection
from nightshift.heartbeats.settings import HeartbeatsSection
from nightshift.jobs.settings import JobsSection
from nightshift.llm.settings import LlmSection
from nightshift.memory.settings import MemorySection
from nightshift.money.settings import MoneySection
from nightshift.platforms.settings import PlatformsSection
from nightshift.processes.settings import ProcessesSection
from nightshift.runs.settings import RunsSection
from nightshift.store.settings import StoreSection

#: What Kubernetes tells a pod of Services whose names begin like ours.
SERVICE_LINK = re.compile(r"_SERVICE_(HOST|PORT\w*)$|_PORT_\d+_\w+$")

#: The demo is watched, so it does not let hours pass, nor keep the night.
DEMO = {
    "budget": {"day": 5},
    "heartbeat": {"interval": 90, "acts_per_day": 200, "repeat_after": 600, "turn": 5, "forced_after": 600},
    "jobs": {"channel_heartbeat": {"every": 30}},
    "agents": {"default": {"about": "a helpful neighbour", "quiet_from": "00:00", "quiet_until": "00:00"}},
}


class Settings(
    StoreSection,
    RunsSection,
    ProcessesSection,
    ControlsSection,
    AccessSection,
    PlatformsSection,
    AgentsSection,
    MoneySection,
    LlmSection,
    MemorySection,
    HeartbeatsSection,
    JobsSection,
    BaseSettings,
):
    """Every setting, its default, and what it means."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
    )

    home: Path = Field(default_factory=default_home, description="where data, logs and secrets live")
    settings_file: Path | None = Field(None, description="unset: nightshift.toml at home, or else here")
    profile: Literal["small"] = Field("small", description="which processes `nightshift up` starts")
    celery: Annotated[dict[str, Any], NoDecode] = Field(
        default_factory=dict, description="Celery's own settings, in Celery's own names"
    )

    @cached_property
    def demo(self) -> bool:
        """Whether nobody has set nightshift up yet."""
        return self.home == demo_home()

    @property
    def simulated(self) -> bool:
        """Whether the model is the one that `nightshift up` simulates."""
        return bool(self.model.url) and self.model.url == _read(simulated_model(self.home))

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        file = _toml_source(settings_cls, env_settings)
        home = Path(init_settings().get("home") or env_settings().get("home") or default_home())
        is_demo = home.expanduser().absolute() == demo_home()
        demo = InitSettingsSource(settings_cls, DEMO if is_demo else {})
        return init_settings, env_settings, file_secret_settings, file, demo


def _toml_source(
    settings_cls: type[BaseSettings], env_settings: PydanticBaseSettingsSource
) -> PydanticBaseSettingsSource:
    env = env_settings()
    here, at_home = Path(SETTINGS_FILE), Path(env.get("home") or default_home()).expanduser() / SETTINGS_FILE
    file = Path(env.get("settings_file") or (at_home if at_home.exists() else here))
    try:
        source = TomlConfigSettingsSource(settings_cls, file)
    except tomllib.TOMLDecodeError as error:
        raise BadSetting(f"{file.absolute()} is not valid TOML: {error}") from error
    if file.exists():
        source.init_kwargs["settings_file"] = file.absolute()
    elif "settings_file" in env:
        raise BadSetting(
            f"there is no file {file}; unset NIGHTSHIFT_SETTINGS_FILE, or name one that is there"
        )
    return source


def load_settings(**given: Any) -> Settings:
    """Read the settings, or say which one is wrong and what it may be."""
    _refuse_unknown_variables()
    secrets = Path("/run/secrets")
    try:
        settings = Settings(_secrets_dir=secrets if secrets.is_dir() else None, **given)
    except SettingsError as error:
        raise BadSetting(
            f"{error}; it holds several settings: set them one by one, as NIGHTSHIFT_MODEL__URL"
        ) from error
    except ValidationError as error:
        raise BadSetting("\n".join(_explain(each) for each in error.errors())) from error
    _refuse_unknown_agents(settings)
    if settings.models or settings.endpoints:
        from nightshift.llm.uses import Uses  # and with it the list of prices

        Uses(settings)  # what contradicts itself is refused now, and not when a model is first asked
    home = settings.home.expanduser().absolute()
    settings = settings.model_copy(update={"home": home})
    if not settings.has_model and (url := _read(simulated_model(home))):
        settings = settings.model_copy(update={"model": settings.model.model_copy(update={"url": url})})
    return settings


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""


def _refuse_unknown_variables() -> None:
    known = [name.upper() for name in Settings.model_fields]
    for variable in os.environ:
        name = variable.removeprefix(PREFIX)
        if name == variable or name.split("__")[0] in known or SERVICE_LINK.search(name):
            continue
        close = difflib.get_close_matches(name, known, n=1)
        remedy = f"did you mean {PREFIX}{close[0]}?" if close else f"known ones: {', '.join(sorted(known))}"
        raise BadSetting(f"environment variable {variable} is not a setting; {remedy}")


def _refuse_unknown_agents(settings: Settings) -> None:
    known = sorted({*settings.agents, DEFAULT_AGENT})
    for name, platform in settings.platforms.items():
        if platform.agent not in known:
            raise BadSetting(
                f"setting 'platforms.{name}.agent': no agent is called {platform.agent!r}; there are "
                f"{', '.join(known)}, and [agents.{platform.agent}] in {SETTINGS_FILE} would make one"
            )


def _explain(error: Any) -> str:
    path = [str(part) for part in error["loc"]]
    name = ".".join(path)
    if error["type"] == "extra_forbidden":
        known = list(_known_names(path[:-1]))
        close = difflib.get_close_matches(path[-1], known, n=1)
        return f"setting {name!r} is not known" + (
            f"; did you mean {close[0]!r}?" if close else f"; known ones: {', '.join(sorted(known))}"
        )
    variable = PREFIX + "__".join(path).upper()
    # Never the value of what may be a secret, or hold one.
    private = any(word in name for word in ("url", "key", "model", "celery", "auth", "token", "platforms"))
    shown = "" if private else f" (it is {error['input']!r})"
    says = error["msg"].removeprefix("Value error, ")
    return f"setting {name!r}{shown}: {says}; set it in {SETTINGS_FILE} or as {variable}"


def _known_names(path: Sequence[str]) -> list[str]:
    """What may be set at this place."""
    model: type[BaseModel] = Settings
    for part in path:
        field = model.model_fields.get(part)
        model = next(_models_in(field.annotation), model) if field else model
    return list(model.model_fields)


def _models_in(kind: Any) -> Iterator[type[BaseModel]]:
    """The models that a field of this type holds, by itself or by name."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
    for argument in get_args(kind):
        yield from _models_in(argument)
