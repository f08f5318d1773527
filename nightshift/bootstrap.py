"""An old name of how jobs asked a model, kept until 0.2: ask with ``tasks.job.ask``."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from nightshift.deployment import deployment

if TYPE_CHECKING:
    from nightshift.llm.models import Models

warnings.warn(
    "nightshift.bootstrap goes with 0.2; ask models with tasks.job.ask", DeprecationWarning, stacklevel=2
)


def models() -> Models:
    """The running loop's way to ask a model."""
    return deployment().llm.models
