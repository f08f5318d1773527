"""Who the agents are, by the settings."""

from __future__ import annotations

from datetime import time

import pytest

from nightshift import agents
from nightshift.base.errors import BadSetting, UnknownAgent
from nightshift.settings import Settings, load_settings


def test_one_agent_is_there_without_being_described() -> None:
    (agent,) = agents.known(Settings())
    assert (agent.name, agent.tenant, agent.runner, agent.delivers) == ("default", "default", "pull", "us")
    assert agents.of(Settings(), "") == agent


def test_an_agent_is_as_the_settings_describe_it() -> None:
    described = {"tenant": "a", "zone": "Europe/Berlin", "runner": "model", "quiet_from": "23:30"}
    settings = Settings.model_validate({"agents": {"ann": described}})
    ann = agents.of(settings, "ann")
    assert (ann.tenant, ann.zone, ann.runner) == ("a", "Europe/Berlin", "model")
    assert (ann.quiet_from, ann.quiet_until) == (time(23, 30), time(8))
    assert [each.name for each in agents.known(settings)] == ["ann", "default"]
    assert agents.of(settings, "default").tenant == "default"


def test_two_agents_never_share_a_lane() -> None:
    settings = Settings.model_validate({"agents": {"a": {"tenant": "b"}, "b": {"tenant": "a"}}})
    assert len({agent.lane for agent in agents.known(settings)}) == 3


def test_an_agent_that_is_not_described_is_unknown() -> None:
    with pytest.raises(
        UnknownAgent, match=r"no agent is called 'bob'; there are default, and \[agents.bob\]"
    ):
        agents.of(Settings(), "bob")


@pytest.mark.parametrize(
    ("described", "told"),
    [
        ({"ann": {"zone": "Europe/Berln"}}, "did you mean Europe/Berlin"),
        ({"ann": {"runner": "magic"}}, "agents.ann.runner"),
        ({"ann": {"zon": "UTC"}}, "did you mean 'zone'"),
        ({"Ann:1": {}}, "agents.Ann:1"),
    ],
)
def test_what_is_wrong_with_an_agent_is_said(described: object, told: str) -> None:
    with pytest.raises(BadSetting, match=told):
        load_settings(agents=described)
