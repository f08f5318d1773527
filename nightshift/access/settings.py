"""Where people and bots come in, and with what credentials."""

from __future__ import annotations

from pydantic import BaseModel, Field, SecretStr


class AccessSection(BaseModel):
    """The web and Flower; each listens on loopback unless told otherwise."""

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
