"""What Prometheus makes of an answer: samples by name and labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis

from nightshift.controls.switches import Switches
from nightshift.runs.ledger import Ledger
from nightshift.settings import Settings
from nightshift.web.metrics import read_metrics


@dataclass(frozen=True)
class Reading:
    """One answer, as it was told and as it is understood."""

    text: str

    def samples(self) -> Iterator[tuple[str, dict[str, str], float]]:
        for family in text_string_to_metric_families(self.text):
            for sample in family.samples:
                yield sample.name, sample.labels, sample.value

    def __getitem__(self, name: str) -> float:
        """The only value under this name."""
        (value,) = self.by(name).values()
        return value

    def by(self, name: str) -> dict[tuple[str, ...], float]:
        """Values under this name, by labels."""
        return {
            tuple(labels.values()): value
            for told, labels, value in self.samples()
            if told == f"nightshift_{name}"
        }

    def some(self, name: str) -> dict[tuple[str, ...], float]:
        """Those that are not zero."""
        return {labels: value for labels, value in self.by(name).items() if value}


async def read(ledger: Ledger, broker: Redis) -> Reading:
    switches = Switches(ledger.redis, ledger.keys, Settings())
    return Reading((await read_metrics(ledger, switches, broker)).decode())
