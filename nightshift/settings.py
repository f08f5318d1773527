"""
What the deployment is told: environment, ``nightshift.toml``, secret files, in that order.

One frozen object, read once per process by ``bootstrap``; everything else is handed what it needs.
What may change while everything runs lives in ``switches``.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from datetime import time
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from nightshift.base.errors import BadSchedule, BadSetting
from nightshift.base.fields import Address
from nightshift.base.home import PREFIX, SETTINGS_FILE, default_home, demo_home, simulated_model
from nightshift.heartbeats.rules import HeartbeatRules
from nightshift.money.payer import Level
from nightshift.runs.states import SHARE
from nightshift.time.zones import zone

#: What Kubernetes tells a pod of Services whose names begin like ours.
SERVICE_LINK = re.compile(r"_SERVICE_(HOST|PORT\w*)$|_PORT_\d+_\w+$")


#: The demo is watched, so it does not let hours pass, nor keep the night.
DEMO = {
    "budget": {"day": 5},
    "heartbeat": {"interval": 90, "acts_per_day": 200, "repeat_after": 600, "turn": 5, "forced_after": 600},
    "jobs": {"channel_heartbeat": {"every": 30}},
    "agents": {"default": {"about": "a helpful neighbour", "quiet_from": "00:00", "quiet_until": "00:00"}},
}


class JobOverride(BaseModel):
    """What ``[jobs.NAME]`` in nightshift.toml may change of a row."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    on: bool | None = None
    every: Annotated[float, Field(gt=0, description="seconds")] | None = None
    cron: str | None = None
    zone: str = "UTC"
    first_run_after: Annotated[float, Field(ge=0, description="seconds")] | None = None
    late: Literal["run_latest", "skip", "run_all"] | None = None


def _lifted(value: Any) -> Any:
    return None if value == "none" else value


Dollars = Annotated[Decimal, Field(ge=0, le=1_000_000_000)]
Cap = Annotated[Dollars | None, BeforeValidator(_lifted)]


class BudgetSettings(BaseModel):
    """
    What may be spent on models, in US dollars: by one run in all, by everything else on one day (UTC).

    Each run, source and so on may spend that much, those named in ``only`` what is said there.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    day: Cap = Decimal(1)
    tenant: Cap = None
    agent: Cap = None
    channel: Cap = None
    job: Cap = None
    source: Cap = None
    model: Cap = None
    run: Cap = None
    only: dict[Level, dict[str, Dollars]] = Field(default_factory=dict)


class ModelSettings(BaseModel):
    """The model endpoint; anything that speaks the OpenAI API."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str | None = None
    key: SecretStr | None = None
    name: str = "simulated/flash"


ModelName = Annotated[str, Field(min_length=1, max_length=200)]
Use = Literal["flash", "chat", "extract", "judge", "embed"]
EndpointName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
EndpointKind = Literal["auto", "openrouter", "gemini", "openai", "ollama", "vllm"]
#: The endpoint that ``[model]`` describes.
MAIN = "main"


class EndpointSettings(BaseModel):
    """What ``[endpoints.NAME]`` in nightshift.toml says of something that speaks the OpenAI API."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Address
    key: SecretStr | None = None
    keys_file: Annotated[Path | None, Field(description="one key a line; read again when it changes")] = None
    kind: Annotated[EndpointKind, Field(description="auto: told from the URL")] = "auto"


class UseSettings(BaseModel):
    """What ``[models.USE]`` in nightshift.toml says of the model that does one kind of work."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: ModelName
    endpoint: EndpointName = MAIN
    fallbacks: Annotated[tuple[str, ...], Field(description="uses, or ENDPOINT/MODEL")] = ()
    allow_dearer: Annotated[bool, Field(description="let a fallback cost more")] = False
    #: For a million tokens.
    price_in: Dollars | None = None
    price_out: Dollars | None = None
    max_output_tokens: Annotated[int | None, Field(ge=1)] = None
    deadline: Annotated[float | None, Field(gt=0, le=240, description="seconds for the whole answer")] = None


#: The agent that is there whether or not the settings describe it.
DEFAULT_AGENT = "default"
AgentName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]


def _known_zone(name: str) -> str:
    try:
        zone(name)
    except BadSchedule as error:
        raise ValueError(str(error)) from error
    return name


class AgentSettings(BaseModel):
    """What ``[agents.NAME]`` in nightshift.toml says of an agent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tenant: Annotated[str, Field(min_length=1, max_length=100)] = "default"
    zone: Annotated[str, AfterValidator(_known_zone)] = "UTC"
    runner: Annotated[Literal["pull", "model"], Field(description="who writes what it says")] = "pull"
    about: Annotated[str, Field(max_length=8_000, description="who it is, as the model is told")] = ""
    delivers: Annotated[Literal["us", "bot"], Field(description="who brings it to the platform")] = "us"
    quiet_from: time = time(22)
    quiet_until: time = time(8)


PlatformName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
PlatformKind = Literal["matrix", "discord", "slack", "telegram", "webhook", "local", "apprise"]
#: What a platform must be told besides its kind.
PLATFORM_NEEDS: dict[PlatformKind, tuple[str, ...]] = {
    "matrix": ("url", "token"),
    "discord": ("token",),
    "slack": ("token",),
    "telegram": ("token",),
    "webhook": ("url", "token"),
    "local": (),
    "apprise": ("token",),
}


class PlatformSettings(BaseModel):
    """What ``[platforms.NAME]`` in nightshift.toml says of a chat platform."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: PlatformKind
    url: Address | None = None
    token: SecretStr | None = None
    token_file: Annotated[Path | None, Field(description="holds the token; read again when it changes")] = (
        None
    )
    agent: Annotated[AgentName, Field(description="whose the channels are that it tells of")] = DEFAULT_AGENT

    @model_validator(mode="after")
    def _complete(self) -> Self:
        needs = PLATFORM_NEEDS[self.kind]
        if "url" in needs and not self.url:
            raise ValueError(f"{self.kind} needs url")
        if "token" in needs and not (self.token or self.token_file):
            raise ValueError(f"{self.kind} needs token or token_file")
        if self.token and self.token_file:
            raise ValueError("token and token_file are both set; leave one out")
        return self


class Settings(BaseSettings):
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

    redis_port: int = Field(6390, ge=0, le=65535, description="loopback port of the embedded server; 0: none")
    redis_maxmemory: str = Field("0", pattern=r"^\d+(kb|mb|gb)?$", description="its memory limit; 0: none")
    state_url: SecretStr | None = Field(None, description="the ledger's Redis; unset: the embedded one")
    broker_url: SecretStr | None = Field(None, description="Celery's Redis; unset: beside the ledger")
    graph_url: SecretStr | None = Field(None, description="FalkorDB; unset: the embedded one, if any")
    allow_eviction: bool = Field(False, description="accept a store that evicts what it acknowledged")
    allow_no_persistence: bool = Field(False, description="accept a store that forgets on restart")

    chat_llm_enabled: bool = Field(True, description="first value of the switch of this name")
    model: ModelSettings = Field(default_factory=ModelSettings)
    endpoints: Annotated[dict[EndpointName, EndpointSettings], NoDecode] = Field(
        default_factory=dict, description="where models are; `model` is short for the one named main"
    )
    models: Annotated[dict[Use, UseSettings], NoDecode] = Field(
        default_factory=dict, description="which model does which work"
    )
    model_probe: bool = Field(True, description="first value of the switch of this name")
    channel_heartbeat_enabled: bool = Field(True, description="first value of the switch of this name")
    heartbeat: HeartbeatRules = Field(default_factory=HeartbeatRules, description="when channels beat")
    shadow: bool = Field(False, description="first value of the switch of this name")
    shadow_calls: bool = Field(True, description="first value of the switch of this name")

    budget: BudgetSettings = Field(default_factory=BudgetSettings, description="caps on what models cost")

    lease_seconds: float = Field(30, ge=1.5, description="how long a claim outlives the worker that holds it")
    concurrency: int = Field(100, ge=1, le=5000, description="tasks a worker carries out at once")
    tenant_share: int = Field(
        SHARE, ge=1, description="runs of one tenant in flight on a queue while other tenants have work"
    )
    retention_done_days: int = Field(14, ge=1)
    retention_failed_days: int = Field(90, ge=1)
    messages_days: int = Field(90, ge=1, description="how long what was said is kept in its channel")
    messages_per_channel: int = Field(2000, ge=1, description="how much of it, of one channel")
    recall_days: int = Field(365, ge=1, description="how long it can be recalled")
    log_format: Literal["auto", "json", "console"] = "auto"

    web_host: str = Field("127.0.0.1", description="where the web listens; beyond loopback only if said here")
    web_port: int = Field(8390, ge=0, le=65535, description="its port; 0: `nightshift up` starts no web")
    web_token: SecretStr | None = Field(
        None, description="the web's first token; unset: the file web in the home's folder secrets"
    )
    flower_host: str = Field("127.0.0.1", description="where Flower listens")
    flower_port: int = Field(
        5555, ge=0, le=65535, description="its port; 0: `nightshift up` starts no Flower"
    )
    flower_url: str | None = Field(None, description="where people find Flower, if not where it listens")
    flower_auth: SecretStr | None = Field(None, description="its user:password; unset: those `up` made")
    task_events: bool = Field(False, description="send Celery's task events; `up` does so if Flower runs")
    liveness_file: Path | None = Field(
        None, description="touched while the process works; unset: NAME.alive in the home's folder run"
    )

    agents: Annotated[dict[AgentName, AgentSettings], NoDecode] = Field(
        default_factory=dict, description="who the work is for; `default` is always there"
    )
    platforms: Annotated[dict[PlatformName, PlatformSettings], NoDecode] = Field(
        default_factory=dict, description="where people talk; `local`, rooms of our own, is always there"
    )
    jobs: Annotated[dict[str, JobOverride], NoDecode] = Field(
        default_factory=dict, description="changes to rows of beat_schedule.py"
    )
    celery: Annotated[dict[str, Any], NoDecode] = Field(
        default_factory=dict, description="Celery's own settings, in Celery's own names"
    )

    @cached_property
    def embedded(self) -> bool:
        """Whether the ledger lives in a server of our own."""
        return self.state_url is None

    @cached_property
    def demo(self) -> bool:
        """Whether nobody has set nightshift up yet."""
        return self.home == demo_home()

    @property
    def has_model(self) -> bool:
        """Whether there is anything to ask."""
        return bool(self.model.url or "flash" in self.models)

    @property
    def simulated(self) -> bool:
        """Whether that is the model that `nightshift up` simulates."""
        return bool(self.model.url) and self.model.url == _read(simulated_model(self.home))

    @cached_property
    def all_endpoints(self) -> dict[str, EndpointSettings]:
        """Every endpoint by its name, the one of ``[model]`` among them."""
        if not self.model.url:
            return self.endpoints
        return {MAIN: EndpointSettings(url=self.model.url, key=self.model.key)} | self.endpoints

    @cached_property
    def all_platforms(self) -> dict[str, PlatformSettings]:
        """Every platform that we have a token for, and the rooms of our own."""
        return {"local": PlatformSettings(kind="local")} | self.platforms

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
        from nightshift.llm.uses import Uses  # which stands on the settings itself

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


def _known_names(path: list[str]) -> list[str]:
    if path[:1] == ["jobs"]:
        return list(JobOverride.model_fields)
    if path[:1] == ["model"]:
        return list(ModelSettings.model_fields)
    if path[:1] == ["budget"]:
        return list(BudgetSettings.model_fields)
    if path[:1] == ["endpoints"]:
        return list(EndpointSettings.model_fields)
    if path[:1] == ["models"]:
        return list(UseSettings.model_fields)
    if path[:1] == ["agents"]:
        return list(AgentSettings.model_fields)
    if path[:1] == ["heartbeat"]:
        return list(HeartbeatRules.model_fields)
    if path[:1] == ["platforms"]:
        return list(PlatformSettings.model_fields)
    return list(Settings.model_fields)
