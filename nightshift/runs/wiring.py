"""The parts of the ledger in one deployment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property

from nightshift.runs.forgetting import EventForgetter, RunForgetter
from nightshift.runs.ledger import Ledger
from nightshift.runs.settings import RunsSection
from nightshift.runs.states import Rules
from nightshift.store.ground import Ground


@dataclass(eq=False)
class RunParts:
    """The ledger, under the rules that the settings say."""

    ground: Ground
    settings: RunsSection

    @cached_property
    def rules(self) -> Rules:
        lease = timedelta(seconds=self.settings.lease_seconds)
        return Rules.for_lease(lease, share=self.settings.tenant_share)

    @cached_property
    def ledger(self) -> Ledger:
        return Ledger(self.ground.redis, self.ground.keys, self.rules, clock=self.ground.clock)

    @property
    def forgetter(self) -> RunForgetter:
        return RunForgetter(self.ledger)

    @property
    def event_forgetter(self) -> EventForgetter:
        return EventForgetter(self.ledger)
