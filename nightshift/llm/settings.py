"""Which models there are, where they are, and which of them does which work."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import NoDecode

from nightshift.base.fields import Address
from nightshift.money.settings import Dollars


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


class LlmSection(BaseModel):
    """Every endpoint and every use; without any, nothing asks a model."""

    model: ModelSettings = Field(default_factory=ModelSettings)
    endpoints: Annotated[dict[EndpointName, EndpointSettings], NoDecode] = Field(
        default_factory=dict, description="where models are; `model` is short for the one named main"
    )
    models: Annotated[dict[Use, UseSettings], NoDecode] = Field(
        default_factory=dict, description="which model does which work"
    )

    @property
    def has_model(self) -> bool:
        """Whether there is anything to ask."""
        return bool(self.model.url or "flash" in self.models)

    @cached_property
    def all_endpoints(self) -> dict[str, EndpointSettings]:
        """Every endpoint by its name, the one of ``[model]`` among them."""
        if not self.model.url:
            return self.endpoints
        return {MAIN: EndpointSettings(url=self.model.url, key=self.model.key)} | self.endpoints
