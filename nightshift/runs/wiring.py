"""The parts of the ledger in one deployment."""

from __future__ import annotations

from datetime import timedelta
from functools import cached_property

from nightshift.runs.forgetting import EventForgetter, RunForgetter
from nightshift.runs.ledger import Ledger
from nightshift.runs.settings import RunsSection
from nightshift.runs.states import Rules
from nightshift.store.ground import Ground


class RunParts:
    """The ledger, under the rules that the settings say."""

    def __init__(self, ground: Ground, settings: RunsSection) -> None:
        self._ground = ground
        self._settings = settings

    @cached_property
    def rules(self) -> Rules:
        lease = timedelta(seconds=self._settings.lease_seconds)
        return Rules.for_lease(lease, share=self._settings.tenant_share)

    @cached_property
    def ledger(self) -> Ledger:
        return Ledger(self._ground.redis, self._ground.keys, self.rules, clock=self._ground.clock)

    @property
    def forgetter(self) -> RunForgetter:
        return RunForgetter(self.ledger)

    @property
    def event_forgetter(self) -> EventForgetter:
        return EventForgetter(self.ledger)
