"""
Every key of the state store is built here, and nowhere else.

All keys of a shard carry the same hash tag, so one script may touch any of them. The Lua
prelude builds the same names from the root; `tests/nightshift/runs/test_keys.py` holds the two together.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from nightshift.base.refs import ChannelRef, UserRef

SHARD = "s0"


@dataclass(frozen=True)
class Keys:
    """The names under one root, which the settings say; tests use one of their own."""

    prefix: str = "ns"
    shard: str = SHARD

    @property
    def root(self) -> str:
        return f"{self.prefix}:{{{self.shard}}}:"

    @property
    def broker_prefix(self) -> str:
        """Before the name of every key in the broker."""
        return f"{self.prefix}-broker:"

    # The ledger.

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

    def waits(self, lane: str) -> str:
        """The runs that found this lane taken, by when they first did."""
        return f"{self.root}lane:waits:{lane}"

    @property
    def shift(self) -> str:
        """Who keeps the pulse: a lane too, but one that no run can be given."""
        return f"{self.root}lane:pulse"

    def ended(self, state: str) -> str:
        """Ended runs of one state, by when they ended."""
        return f"{self.root}ended:{state}"

    def tally(self, day: int) -> str:
        """Counts and cost of one day (days since 1970) by source."""
        return f"{self.root}tally:{day}"

    @property
    def total(self) -> str:
        """Counts and cost of all sources since the store began."""
        return f"{self.root}tally:total"

    def skips(self, source: str) -> str:
        """The last slots of a source that made no run, and why."""
        return f"{self.root}tally:skips:{source}"

    @property
    def tenants(self) -> str:
        """Tenants by when a run of theirs was last recorded."""
        return f"{self.root}tenants"

    def inflight(self, queue: str, tenant: str) -> str:
        """The runs of one tenant on one queue that are hinted or carried out."""
        return f"{self.root}inflight:{queue}:{tenant}"

    @property
    def lines(self) -> str:
        """How far the lines of tenants reach that have more to do than their share."""
        return f"{self.root}inflight"

    # Deliveries.

    def delivery(self, id: str) -> str:
        """The row of one delivery."""
        return f"{self.root}delivery:{id}"

    def deliveries(self, state: str) -> str:
        """Deliveries of one state, by when they came to it."""
        return f"{self.root}deliveries:{state}"

    def deliveries_to(self, channel: str) -> str:
        """Deliveries to one channel, by when they were requested."""
        return f"{self.root}deliveries:to:{channel}"

    def sending_queue(self, channel: str) -> str:
        """Deliveries that we have yet to send to one channel, in order."""
        return f"{self.root}deliveries:queue:{channel}"

    def bot_queue(self, tenant: str, agent: str) -> str:
        """Deliveries that one agent's bot has yet to send, in order."""
        return f"{self.root}deliveries:bot:{quote(tenant, safe='')}:{quote(agent, safe='')}"

    def bot_asks(self, tenant: str, agent: str, platform: str) -> str:
        """There for a while after one agent's bot has asked for what it is to say there; empty: anywhere."""
        return f"{self.root}deliveries:asks:{quote(tenant, safe='')}:{quote(agent, safe='')}:{platform}"

    # Channels, and what was said in them.

    def channel(self, ref: ChannelRef) -> str:
        """The row of one channel."""
        return f"{self.root}channel:{ref}"

    @property
    def channels(self) -> str:
        """Channels by when somebody last spoke there."""
        return f"{self.root}channels"

    def message(self, ref: ChannelRef, message_id: str) -> str:
        """One message."""
        return f"{self.root}message:{ref}:{message_id}"

    def messages(self, ref: ChannelRef) -> str:
        """The messages of one channel, by when they were sent."""
        return f"{self.root}messages:{ref}"

    def late(self, ref: ChannelRef) -> str:
        """The messages of one channel that were told after later ones, and are in no summary yet."""
        return f"{self.root}late:{ref}"

    def spoke_in(self, user: UserRef) -> str:
        """The channels in which somebody has spoken."""
        return f"{self.root}user:{user}"

    def own_users(self, tenant: str) -> str:
        """The users that are agents of this tenant's, and which."""
        return f"{self.root}users:own:{tenant}"

    @property
    def unembedded(self) -> str:
        """Messages that wait for a vector, or for theirs to go, by since when."""
        return f"{self.root}unembedded"

    @property
    def embedding_run(self) -> str:
        """The run that was last asked to see to them."""
        return f"{self.root}unembedded:run"

    @property
    def outdated(self) -> str:
        """The tenants some of whose vectors are of a model that is no longer asked."""
        return f"{self.root}unembedded:outdated"

    @property
    def strays(self) -> str:
        """Messages that a graph may have something of though nothing is known of them, by since when."""
        return f"{self.root}unembedded:strays"

    @property
    def graphs(self) -> str:
        """What the names of all our graphs in FalkorDB begin with."""
        return f"{self.root}graph:"

    def message_graph(self, tenant: str) -> str:
        """The graph of one tenant's messages, in FalkorDB."""
        return f"{self.graphs}messages:{quote(tenant, safe='')}"

    def summary(self, ref: ChannelRef) -> str:
        """The summary of one channel that holds now."""
        return f"{self.root}summary:{ref}"

    def summaries(self, ref: ChannelRef) -> str:
        """The summaries of one channel that held before, by when they were made."""
        return f"{self.root}summaries:{ref}"

    def speakers(self, ref: ChannelRef) -> str:
        """The users whose words may be in the summaries of one channel."""
        return f"{self.root}speakers:{ref}"

    def connection(self, platform: str) -> str:
        """Whether a platform is connected, how often it has been, and which worker holds the connection."""
        return f"{self.root}connection:{platform}"

    @property
    def forgotten(self) -> str:
        """Who and what was forgotten, and up to which instant."""
        return f"{self.root}forgotten"

    @property
    def receipts(self) -> str:
        """What was done to forget them, the latest first."""
        return f"{self.root}forgotten:receipts"

    def work(self, tenant: str, agent: str) -> str:
        """The runs that wait for this agent's own bot, by when they are ready."""
        return f"{self.root}work:{tenant}:{agent}"

    def alive(self, tenant: str, agent: str) -> str:
        """The last signs of life of this agent's bot, by platform and process."""
        return f"{self.root}alive:{tenant}:{agent}"

    @property
    def bots(self) -> str:
        """Agents by when their bots last gave a sign of life."""
        return f"{self.root}bots"

    def observed(self, tenant: str, agent: str, minute: int) -> str:
        """How many messages this agent's bot sent us within one minute."""
        return f"{self.root}observed:{tenant}:{agent}:{minute}"

    @property
    def visits(self) -> str:
        """Channels by when their next visit is due."""
        return f"{self.root}beats"

    @property
    def visits_out(self) -> str:
        """Channels whose visit is handed out, by when to hand it out again."""
        return f"{self.root}beats:out"

    def visit(self, channel: str) -> str:
        """How the visits of one channel stand. Rows of RedBeat's own are called beat:NAME."""
        return f"{self.root}beats:of:{channel}"

    def platform_probe(self, name: str) -> str:
        """Whether a platform was ready when it was last asked."""
        return f"{self.root}platform:probe:{name}"

    @property
    def heartbeat_rules(self) -> str:
        """What a person changed of the rules of heartbeats."""
        return f"{self.root}beats:rules"

    # Money.

    def book(self, day: int) -> str:
        """What everybody has spent on one day (days since 1970)."""
        return f"{self.root}money:day:{day}"

    def spent_by(self, run: str) -> str:
        """What one run has spent in all."""
        return f"{self.root}money:run:{run}"

    @property
    def reserved(self) -> str:
        """What calls may still cost that have not been settled, by day, level and name."""
        return f"{self.root}money:reserved"

    def hold(self, hold: str) -> str:
        """The row of one reservation."""
        return f"{self.root}money:hold:{hold}"

    @property
    def holds(self) -> str:
        """Reservations that have not been settled, by when they lapse."""
        return f"{self.root}money:holds"

    @property
    def caps(self) -> str:
        """Caps that were changed while everything runs."""
        return f"{self.root}money:caps"

    def warned(self, day: int) -> str:
        """Who has been told on this day that a cap is near, or reached."""
        return f"{self.root}money:warned:{day}"

    def costs_of_runs(self, source: str) -> str:
        """What the last runs of a source cost."""
        return f"{self.root}money:last:source:{source}"

    def costs_of_calls(self, use: str) -> str:
        """What the last calls for a use cost."""
        return f"{self.root}money:last:use:{use}"

    def breaker(self, endpoint: str) -> str:
        """How the calls to one endpoint went of late, and whether it is left alone."""
        return f"{self.root}breaker:{endpoint}"

    def key_pool(self, name: str) -> str:
        """How each key of a pool is doing, by its id."""
        return f"{self.root}keypool:{name}"

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
    def rooms(self) -> str:
        """Our own rooms, by when something was last said there."""
        return f"{self.root}rooms"

    def room(self, name: str) -> str:
        """What was said in one of them."""
        return f"{self.root}room:of:{name}"

    def said(self, key: str) -> str:
        """Which message in a room this key was said as."""
        return f"{self.root}room:said:{key}"

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
