from __future__ import annotations

import re
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path

import pytest

from nightshift.base.errors import BadSchedule
from nightshift.time.cadence import every
from nightshift.time.zones import changes, tzdata_version, zone


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("Europe/Berln", "Europe/Berlin"),  # a slip
        ("europe/berlin", "Europe/Berlin"),  # IANA names have their case
        ("new york", "America/New_York"),  # the city alone
        ("right/Europe/Berlin", "Europe/Berlin"),  # on many machines, but counts leap seconds
        ("Factory", "is not known"),  # a placeholder among the zones
        ("../../etc/passwd", "an IANA name"),  # nothing near
        ("x" * 100_000, "an IANA name"),  # hostile, and not repeated in full
    ],
)
def test_an_unknown_zone_is_refused_with_the_nearest_names(wrong: str, meant: str) -> None:
    with pytest.raises(BadSchedule, match=re.escape(meant)) as refused:
        zone(wrong)
    assert len(str(refused.value)) < 200


def test_the_edition_of_the_rules_is_named_as_iana_names_it() -> None:
    assert re.fullmatch(r"20\d\d[a-z]", tzdata_version())


@pytest.fixture
def machine_with_other_rules(tmp_path: Path) -> Iterator[None]:
    (tmp_path / "Europe").mkdir()
    (tmp_path / "Europe" / "Berlin").write_bytes(files("tzdata").joinpath("zoneinfo", "UTC").read_bytes())
    before = zoneinfo.TZPATH
    zoneinfo.reset_tzpath(to=[tmp_path])
    forget_zones()
    yield
    zoneinfo.reset_tzpath(to=before)
    forget_zones()


def forget_zones() -> None:
    zone.cache_clear()
    zoneinfo.ZoneInfo.clear_cache()


@pytest.mark.usefixtures("machine_with_other_rules")
def test_a_zone_does_not_depend_on_the_files_of_the_machine() -> None:
    assert datetime(2024, 7, 1, tzinfo=zone("Europe/Berlin")).utcoffset() == timedelta(hours=2)


def test_clock_changes_are_found_to_the_second() -> None:
    year = datetime(2024, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC)
    assert list(changes(zone("America/Havana"), *year)) == [
        datetime(2024, 3, 10, 5, tzinfo=UTC),
        datetime(2024, 11, 3, 5, tzinfo=UTC),
    ]


def test_a_datetime_without_a_zone_is_no_instant() -> None:
    with pytest.raises(BadSchedule, match="pass an aware datetime"):
        every(hours=1).slot_after(datetime(2024, 1, 1))  # noqa: DTZ001 - that is the mistake
