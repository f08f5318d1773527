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
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

import nightshift
from nightshift.errors import BadSetting

CHECKOUT = Path(nightshift.__file__).parent.parent
SETTINGS_FILE = "nightshift.toml"
PREFIX = "NIGHTSHIFT_"
#: What Kubernetes tells a pod of Services whose names begin like ours.
SERVICE_LINK = re.compile(r"_SERVICE_(HOST|PORT\w*)$|_PORT_\d+_\w+$")


def default_home() -> Path:
    """A folder inside the checkout, or one in the user's home when there is no checkout."""
    if (CHECKOUT / "beat_schedule.py").exists():
        return CHECKOUT / ".nightshift"
    return Path.home() / ".nightshift"


class JobOverride(BaseModel):
    """What ``[jobs.NAME]`` in nightshift.toml may change of a row."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    on: bool | None = None
    every: Annotated[float, Field(gt=0, description="seconds")] | None = None
    cron: str | None = None
    zone: str = "UTC"
    first_run_after: Annotated[float, Field(ge=0, description="seconds")] | None = None
    late: Literal["run_latest", "skip", "run_all"] | None = None


class ModelSettings(BaseModel):
    """The model endpoint; anything that speaks the OpenAI API."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str | None = None
    key: SecretStr | None = None
    name: str = "simulated/flash"


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
    model_probe: bool = Field(True, description="first value of the switch of this name")

    lease_seconds: float = Field(30, ge=1.5, description="how long a claim outlives the worker that holds it")
    concurrency: int = Field(100, ge=1, le=5000, description="tasks a worker carries out at once")
    retention_done_days: int = Field(14, ge=1)
    retention_failed_days: int = Field(90, ge=1)
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

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, file_secret_settings, _toml_source(settings_cls, env_settings)


def _toml_source(
    settings_cls: type[BaseSettings], env_settings: PydanticBaseSettingsSource
) -> PydanticBaseSettingsSource:
    env = env_settings()
    here, at_home = Path(SETTINGS_FILE), Path(env.get("home") or default_home()).expanduser() / SETTINGS_FILE
    file = Path(env.get("settings_file") or (at_home if at_home.exists() else here))
    source = TomlConfigSettingsSource(settings_cls, file)
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
    except tomllib.TOMLDecodeError as error:
        raise BadSetting(f"{SETTINGS_FILE} is not valid TOML: {error}") from error
    except SettingsError as error:
        raise BadSetting(
            f"{error}; it holds several settings: set them one by one, as NIGHTSHIFT_MODEL__URL"
        ) from error
    except ValidationError as error:
        raise BadSetting("\n".join(_explain(each) for each in error.errors())) from error
    home = settings.home.expanduser().absolute()
    return settings.model_copy(update={"home": home})


def _refuse_unknown_variables() -> None:
    known = [name.upper() for name in Settings.model_fields]
    for variable in os.environ:
        name = variable.removeprefix(PREFIX)
        if name == variable or name.split("__")[0] in known or SERVICE_LINK.search(name):
            continue
        close = difflib.get_close_matches(name, known, n=1)
        remedy = f"did you mean {PREFIX}{close[0]}?" if close else f"known ones: {', '.join(sorted(known))}"
        raise BadSetting(f"environment variable {variable} is not a setting; {remedy}")


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
    private = any(word in name for word in ("url", "key", "model", "celery", "auth", "token"))
    shown = "" if private else f" (it is {error['input']!r})"
    return f"setting {name!r}{shown}: {error['msg']}; set it in {SETTINGS_FILE} or as {variable}"


def _known_names(path: list[str]) -> list[str]:
    if path[:1] == ["jobs"]:
        return list(JobOverride.model_fields)
    if path[:1] == ["model"]:
        return list(ModelSettings.model_fields)
    return list(Settings.model_fields)
