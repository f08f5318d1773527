"""
Every key of the state store is built here, and nowhere else.

All keys of a shard carry the same hash tag, so one script may touch any of them. The Lua
prelude builds the same names from the root; `tests/nightshift/runs/test_keys.py` holds the two together.
"""

from __future__ import annotations

from dataclasses import dataclass

SHARD = "s0"


@dataclass(frozen=True)
class Keys:
    """The names under one root; tests use a root of their own."""

    prefix: str = "ns"
    shard: str = SHARD

    @property
    def root(self) -> str:
        return f"{self.prefix}:{{{self.shard}}}:"

    # The ledger: eight kinds.

    def run(self, run_id: str) -> str:
        """The row of one run."""
        return f"{self.root}run:{run_id}"

    def schedule(self, schedule_id: str) -> str:
        """The row of one schedule, and of one job."""
        return f"{self.root}schedule:{schedule_id}"

    @property
    def due(self) -> str:
        """Schedules by their next nominal time."""
        return f"{self.root}due"

    @property
    def open(self) -> str:
        """Runs that have not ended, by when to look at them again."""
        return f"{self.root}open"

    def lane(self, name: str) -> str:
        """Which run holds the right to do one thing at a time."""
        return f"{self.root}lane:of:{name}"

    @property
    def shift(self) -> str:
        """Who keeps the pulse: a lane too, but one that no run can be given."""
        return f"{self.root}lane:pulse"

    def mailbox(self, agent: str) -> str:
        """Causes an agent's next run will take."""
        return f"{self.root}mailbox:{agent}"

    def ended(self, state: str) -> str:
        """Ended runs of one state, by when they ended."""
        return f"{self.root}ended:{state}"

    def tally(self, day: int) -> str:
        """Counts and cost of one day (days since 1970) by source."""
        return f"{self.root}tally:{day}"

    @property
    def total(self) -> str:
        """The same counts and cost of all sources since the store began."""
        return f"{self.root}tally:total"

    def skips(self, source: str) -> str:
        """The last slots of a source that made no run, and why."""
        return f"{self.root}tally:skips:{source}"

    # Around the ledger.

    @property
    def events(self) -> str:
        """The stream of everything that happened."""
        return f"{self.root}events"

    @property
    def poke(self) -> str:
        """The channel on which the pulse is woken early."""
        return f"{self.root}poke"

    @property
    def jobs(self) -> str:
        """The job table as beat resolved it."""
        return f"{self.root}jobs"

    @property
    def job_names(self) -> str:
        """The names of the table's jobs, in order."""
        return f"{self.root}jobs:names"

    @property
    def tokens(self) -> str:
        """Who may use the web: what each token may do, by its hash."""
        return f"{self.root}tokens"

    def session(self, digest: str) -> str:
        """Which token a browser that signed in stands for."""
        return f"{self.root}session:{digest}"

    @property
    def switches(self) -> str:
        """What may be flipped while everything runs."""
        return f"{self.root}switches"

    def process(self, name: str) -> str:
        """The sign of life of one process."""
        return f"{self.root}process:{name}"

    @property
    def processes(self) -> str:
        """Processes by their last sign of life."""
        return f"{self.root}processes"

    @property
    def beat_prefix(self) -> str:
        """The root of RedBeat's own keys."""
        return f"{self.root}beat:"

    @property
    def beat_index(self) -> str:
        """The slots announced next, by when."""
        return f"{self.beat_prefix}:schedule"

    @property
    def beat_lease(self) -> str:
        """Held by the beat that leads."""
        return f"{self.beat_prefix}:lock"
