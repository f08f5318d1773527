"""Where people talk, as the settings describe it."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator
from pydantic_settings import NoDecode

from nightshift.agents.settings import DEFAULT_AGENT, AgentName, AgentsSection
from nightshift.base.errors import BadSetting
from nightshift.base.fields import Address
from nightshift.platforms.known import get_kind

PlatformName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]


def _known(kind: str) -> str:
    try:
        return get_kind(kind).kind
    except BadSetting as error:
        raise ValueError(str(error)) from None


PlatformKind = Annotated[str, AfterValidator(_known)]


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
        for need in get_kind(self.kind).needs:
            fields = (need.setting, f"{need.setting}_file") if need.is_secret else (need.setting,)
            if not any(getattr(self, field) for field in fields):
                raise ValueError(f"{self.kind} needs {' or '.join(fields)}")
        if self.token and self.token_file:
            raise ValueError("token and token_file are both set; leave one out")
        return self


class PlatformsSection(AgentsSection):
    """Every platform that is described, and with them the agents whose channels they are."""

    platforms: Annotated[dict[PlatformName, PlatformSettings], NoDecode] = Field(
        default_factory=dict, description="where people talk; `local`, rooms of our own, is always there"
    )

    @cached_property
    def all_platforms(self) -> dict[str, PlatformSettings]:
        """Every platform that we have a token for, and the rooms of our own."""
        return {"local": PlatformSettings(kind="local")} | self.platforms
