"""A homeserver, two of its users, and a room in which both are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.matrix.synapse import PYTHON, Synapse, User, synapse


@pytest.fixture(scope="package")
def homeserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Synapse]:
    if not PYTHON.exists():
        pytest.fail("no Synapse here: `make test-matrix` installs it and runs these tests")
    folder: Path = tmp_path_factory.mktemp("synapse")
    with synapse(folder) as running:
        yield running


@pytest.fixture
def ann(homeserver: Synapse) -> User:
    return homeserver.register("ann")


@pytest.fixture
def bot(homeserver: Synapse) -> User:
    """The user who is the bot, as a person would use the account."""
    return homeserver.register("bot")


@pytest.fixture
def room(ann: User, bot: User) -> str:
    room = ann.create_room(bot, name="Garden")
    bot.join(room)
    return room
