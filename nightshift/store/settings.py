"""Where the stores are, and what is asked of them."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field, SecretStr

#: What a root may be: nothing that means anything in a key, a pattern or a URL.
ROOT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")


def _root(text: str) -> str:
    if not ROOT.fullmatch(text):
        raise ValueError(
            f"{text!r} begins no key; use up to 32 letters, digits, '_', '.' and '-', "
            "and begin with a letter or digit"
        )
    return text


class StoreSection(BaseModel):
    """The ledger's Redis, Celery's, and the graph; an embedded server unless one is named."""

    redis_port: int = Field(6390, ge=0, le=65535, description="loopback port of the embedded server; 0: none")
    redis_maxmemory: str = Field("0", pattern=r"^\d+(kb|mb|gb)?$", description="its memory limit; 0: none")
    state_url: SecretStr | None = Field(None, description="the ledger's Redis; unset: the embedded one")
    broker_url: SecretStr | None = Field(None, description="Celery's Redis; unset: beside the ledger")
    graph_url: SecretStr | None = Field(None, description="FalkorDB; unset: the embedded one, if any")
    key_root: Annotated[str, AfterValidator(_root)] = Field(
        "ns", description="what every key begins with; another for each deployment in one database"
    )
    allow_eviction: bool = Field(False, description="accept a store that evicts what it acknowledged")
    allow_no_persistence: bool = Field(False, description="accept a store that forgets on restart")

    @property
    def embedded(self) -> bool:
        """Whether the ledger lives in a server of our own."""
        return self.state_url is None
