"""Who the work is for, as the settings describe it."""

from __future__ import annotations

from datetime import time
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_settings import NoDecode

from nightshift.base.errors import BadSchedule
from nightshift.time.zones import zone

#: The agent that is there whether or not the settings describe it.
DEFAULT_AGENT = "default"


AgentName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]


def known_zone(name: str) -> str:
    try:
        zone(name)
    except BadSchedule as error:
        raise ValueError(str(error)) from error
    return name


class AgentSettings(BaseModel):
    """What ``[agents.NAME]`` in nightshift.toml says of an agent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tenant: Annotated[str, Field(min_length=1, max_length=100)] = "default"
    zone: Annotated[str, AfterValidator(known_zone)] = "UTC"
    runner: Annotated[Literal["pull", "model"], Field(description="who writes what it says")] = "pull"
    about: Annotated[str, Field(max_length=8_000, description="who it is, as the model is told")] = ""
    delivers: Annotated[Literal["us", "bot"], Field(description="who brings it to the platform")] = "us"
    quiet_from: time = time(22)
    quiet_until: time = time(8)


class AgentsSection(BaseModel):
    """Every agent that is described."""

    agents: Annotated[dict[AgentName, AgentSettings], NoDecode] = Field(
        default_factory=dict, description="who the work is for; `default` is always there"
    )
