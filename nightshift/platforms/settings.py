"""Where people talk, as the settings describe it."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator
from pydantic_settings import NoDecode

from nightshift.agents.settings import DEFAULT_AGENT, AgentName, AgentsSection
from nightshift.base.fields import Address

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


class PlatformsSection(AgentsSection):
    """Every platform that is described, and with them the agents whose channels they are."""

    platforms: Annotated[dict[PlatformName, PlatformSettings], NoDecode] = Field(
        default_factory=dict, description="where people talk; `local`, rooms of our own, is always there"
    )

    @cached_property
    def all_platforms(self) -> dict[str, PlatformSettings]:
        """Every platform that we have a token for, and the rooms of our own."""
        return {"local": PlatformSettings(kind="local")} | self.platforms
