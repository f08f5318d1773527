"""Dashboard, alerts and their pages speak of what Prometheus is really told."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from redis.asyncio import Redis
from typer.main import get_command

from nightshift.cli.app import app
from nightshift.processes.signs_of_life import report
from nightshift.runs.ledger import Ledger
from tests.nightshift.web.reading import Reading, read

CHECKOUT = Path(__file__).parents[2]
OBSERVABILITY = CHECKOUT / "deploy" / "observability"
RULES = OBSERVABILITY / "nightshift.rules.yaml"
ALERTS: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
PANELS: list[dict[str, Any]] = json.loads((OBSERVABILITY / "nightshift.dashboard.json").read_text())["panels"]
GUIDE = CHECKOUT / "docs" / "how-to" / "observe.md"
PAGES = sorted((CHECKOUT / "docs" / "how-to" / "alerts").glob("*.md"))

#: Each expression, with the text that quotes labels of what it finds.
EXPRESSIONS = {
    **{alert["alert"]: (alert["expr"], str(alert["annotations"])) for alert in ALERTS},
    **{
        f"{panel['title']}: {target['refId']}": (target["expr"], target["legendFormat"])
        for panel in PANELS
        for target in panel["targets"]
    },
}
each_expression = pytest.mark.parametrize("name", EXPRESSIONS)
each_alert = pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])

TOKEN = re.compile(
    r'(?P<string>"[^"]*")|(?P<range>\[\d+[smhd]\])|(?P<number>\d+(?:\.\d+)?)|(?P<word>[A-Za-z_]\w*)'
    r"|(?P<sign>==|!=|>=|<=|=~|[-+*/<>=(){},])|(?P<space>\s+)"
)
SELECTOR = re.compile(r"(nightshift_\w+)(?:\{([^}]*)\})?")
GROUPING = re.compile(r"\b(?:by|on) \(([^)]*)\)")
PROMQL = {"absent", "and", "by", "deriv", "increase", "max", "min", "on", "or", "rate", "unless"}
#: What Prometheus itself adds to every sample.
ADDED = {"instance", "job"}


@pytest.fixture
async def told(ledger: Ledger, redis: Redis) -> Reading:
    """A reading in which nothing is missing."""
    worker = {"queues": ["io"], "pool": {"limit": 10, "running": 1}}
    await report(redis, ledger.keys, "w", "worker", worker)
    await report(redis, ledger.keys, "up", "supervisor", {"children": [{"name": "beat", "restarts": 1}]})
    return await read(ledger, redis)


def labels_of(told: Reading) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name, labels, _ in told.samples():
        found.setdefault(name, set()).update(labels)
    return found


# Expressions


@each_expression
def test_an_expression_is_promql(name: str) -> None:
    expression, _ = EXPRESSIONS[name]
    tokens = list(TOKEN.finditer(expression))
    assert "".join(token.group() for token in tokens) == expression
    outside = re.sub(r"\{[^}]*\}", "", GROUPING.sub("", SELECTOR.sub("", expression)))
    words = {token.group() for token in TOKEN.finditer(outside) if token.lastgroup == "word"}
    assert words <= PROMQL
    for opening, closing in ("()", "{}", "[]"):
        assert expression.count(opening) == expression.count(closing)


@each_expression
async def test_an_expression_asks_for_what_is_told(name: str, told: Reading) -> None:
    expression, quoting = EXPRESSIONS[name]
    known = labels_of(told)
    asked = SELECTOR.findall(expression)
    assert asked
    for metric, conditions in asked:
        assert metric in known
        for label, value in re.findall(r'(\w+)="([^"]*)"', conditions):
            values = {labels.get(label) for name, labels, _ in told.samples() if name == metric}
            assert value in values
    kept = {label.strip() for group in GROUPING.findall(expression) for label in group.split(",")} - {""}
    assert kept <= set().union(*(known[metric] for metric, _ in asked))
    quoted = set(re.findall(r"\{\{ ?(?:\$labels\.)?(\w+) ?\}\}", quoting))
    aggregated = re.search(r"\b(max|min)\b", expression)
    assert quoted <= (kept if aggregated else kept | ADDED)


async def test_the_guide_lists_every_metric_with_its_labels(told: Reading) -> None:
    rows = re.findall(r"^\| `(nightshift_\w+)` \|([^|]*)\|", GUIDE.read_text(), re.M)
    listed = {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows}
    assert listed == labels_of(told)


# The dashboard


def test_panels_have_places_of_their_own() -> None:
    taken = [
        (x, y)
        for panel in PANELS
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < 24
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)


# Alerts and their pages


@each_alert
def test_an_alert_says_how_bad_it_is_what_is_wrong_and_which_page_helps(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in {"critical", "warning"}
    assert alert["annotations"]["summary"]
    assert alert["annotations"]["description"]
    page = CHECKOUT / alert["annotations"]["runbook_url"]
    assert page in PAGES
    assert page.read_text().startswith(f"# {alert['alert']}\n")
    assert page.name in GUIDE.read_text()


def test_every_page_is_for_one_alert() -> None:
    pages = [CHECKOUT / alert["annotations"]["runbook_url"] for alert in ALERTS]
    assert sorted(pages) == PAGES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_names_commands_that_the_command_line_knows(page: Path) -> None:
    commands = list(commands_in(page.read_text()))
    assert commands
    assert [command for command in commands if not is_known(command)] == []


def commands_in(text: str) -> Iterator[str]:
    """What follows a prompt or stands between backticks, from ``nightshift`` on."""
    yield from re.findall(r"^ *\$ nightshift (.*?)(?: +#.*)?$", text, re.M)
    yield from re.findall(r"`nightshift ([^`]*)`", text)


@pytest.mark.parametrize(
    ("command", "known"),
    [
        ("runs --state failed", True),
        ("runs --colour", False),
        ("runs explode", False),
        ("explode", False),
    ],
)
def test_commands_that_are_unknown_are_found_out(command: str, *, known: bool) -> None:
    assert is_known(command) is known


def is_known(command: str) -> bool:
    """Whether the words would be understood, without doing what they say."""
    entry: Any = get_command(app)
    words = shlex.split(command)
    while words and words[0] in getattr(entry, "commands", ()):
        entry, words = entry.commands[words[0]], words[1:]
    try:
        context = entry.make_context(entry.name, list(words))
    except Exception as refusal:
        print(command, refusal)
        return False
    # A group leaves what is no option to the command of that name, and there is none.
    return not (hasattr(entry, "commands") and entry.make_parser(context).parse_args(list(words))[1])


# Prometheus' own opinion

HEALTHY = {
    "nightshift_store_up": "1x60",
    "nightshift_broker_up": "1x60",
    "nightshift_beat_lease_held": "1x60",
    "nightshift_pulse_held": "1x60",
    "nightshift_slot_lag_seconds": "1x60",
    "nightshift_schedule_lag_seconds": "1x60",
    'nightshift_processes_alive{kind="worker"}': "2x60",
    'nightshift_queue_consumers{queue="io"}': "2x60",
    'nightshift_run_lag_seconds{queue="memory"}': "5000x60",
    'nightshift_run_lag_seconds{queue="io"}': "20x60",
    'nightshift_queue_closed{queue="memory"}': "1x60",
    'nightshift_queue_closed{queue="io"}': "0x60",
    'nightshift_queue_length{queue="io"}': "1900x60",
    'nightshift_runs_ended_total{state="failed"}': "7x60",
    "nightshift_leases_lost_total": "0x30 9x30",
    'nightshift_process_restarts_total{process="beat"}': "0x10 2x50",
    'nightshift_jobs{state="broken"}': "0x60",
    "nightshift_messages_unreadable": "0x60",
    'nightshift_deliveries{state="unknown"}': "0x60",
    "nightshift_cost_usd_total": "1+0.01x60",
    'nightshift_caps_near_total{reached="yes"}': "3x60",
    "nightshift_frozen": "0x40 1x20",
}
#: What differs from health when each alert fires; None: it is not told.
TROUBLE: dict[str, dict[str, str | None]] = {
    "NightshiftNotScraped": {"nightshift_store_up": None},
    "NightshiftStoreDown": {"nightshift_store_up": "0x60"},
    "NightshiftBrokerDown": {"nightshift_broker_up": "0x60"},
    "NightshiftNoBeatLeads": {"nightshift_beat_lease_held": "0x60"},
    "NightshiftPulseNotHeld": {"nightshift_pulse_held": "0x60"},
    "NightshiftDueLag": {"nightshift_schedule_lag_seconds": "0+60x60"},
    # Nobody consumes anything then; one alert says so.
    "NightshiftNoWorker": {
        'nightshift_processes_alive{kind="worker"}': "0x60",
        'nightshift_queue_consumers{queue="io"}': "0x60",
    },
    "NightshiftQueueNotConsumed": {'nightshift_queue_consumers{queue="io"}': "0x60"},
    "NightshiftRunsLate": {'nightshift_run_lag_seconds{queue="io"}': "601x60"},
    "NightshiftBacklogGrows": {'nightshift_queue_length{queue="io"}': "1000+10x60"},
    "NightshiftRunsFail": {'nightshift_runs_ended_total{state="failed"}': "7x30 8x30"},
    "NightshiftLeasesLost": {"nightshift_leases_lost_total": "0+1x60"},
    "NightshiftProcessRestarts": {'nightshift_process_restarts_total{process="beat"}': "0x40 5x20"},
    "NightshiftJobBroken": {'nightshift_jobs{state="broken"}': "1x60"},
    "NightshiftMessagesUnreadable": {"nightshift_messages_unreadable": "0x30 1x30"},
    "NightshiftDeliveriesUnknown": {'nightshift_deliveries{state="unknown"}': "0x30 1x30"},
    "NightshiftCapReached": {'nightshift_caps_near_total{reached="yes"}': "3x30 4x30"},
    "NightshiftFrozen": {"nightshift_frozen": "1x60"},
    "NightshiftCostSpikes": {"nightshift_cost_usd_total": "1+0.2x60"},
}


@pytest.fixture
def promtool() -> str:
    found = shutil.which("promtool")
    if not found:
        pytest.skip(
            "promtool is not installed (Debian: apt install prometheus): only our own reading is tested"
        )
    return found


def test_each_alert_fires_for_its_trouble_alone_and_none_in_health(promtool: str, tmp_path: Path) -> None:
    assert set(TROUBLE) == {alert["alert"] for alert in ALERTS}
    tests = [_fires(dict(HEALTHY), None)]
    tests += [_fires({**HEALTHY, **differs}, alert) for alert, differs in TROUBLE.items()]
    file = tmp_path / "tests.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}))
    _succeeds(promtool, "test", "rules", str(file))


def _fires(told: dict[str, Any], alert: str | None) -> dict[str, Any]:
    firing = 'count by (alertname) (ALERTS{alertstate="firing"})'
    expected = [{"labels": f'{{alertname="{alert}"}}', "value": 1}] if alert else []
    return {
        "interval": "1m",
        "input_series": [
            {"series": series, "values": values.replace("x", "+0x") if "+" not in values else values}
            for series, values in told.items()
            if values
        ],
        "promql_expr_test": [{"expr": firing, "eval_time": "50m", "exp_samples": expected}],
    }


def test_prometheus_understands_rules_configuration_and_every_expression(
    promtool: str, tmp_path: Path
) -> None:
    _succeeds(promtool, "check", "rules", str(RULES))
    _succeeds(promtool, "check", "config", "--syntax-only", str(OBSERVABILITY / "prometheus.yaml"))
    rules = [
        {"record": f"of:{n}", "expr": expression} for n, (expression, _) in enumerate(EXPRESSIONS.values())
    ]
    file = tmp_path / "expressions.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}))
    _succeeds(promtool, "check", "rules", str(file))


def _succeeds(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr
