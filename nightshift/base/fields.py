"""Kinds of values that settings of several features hold."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

Address = Annotated[str, Field(pattern=r"^https?://[^\s/]+\S*$")]
