from __future__ import annotations

import json

import pytest

from nightshift.base.masking import masked

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (f"redis://ann:{SECRET}@host/0", "redis://ann:**@host/0"),
        (f"redis://:{SECRET}@host/0", "redis://:**@host/0"),
        (f"https://{SECRET}@model.example/v1", "https://**@model.example/v1"),  # a key in a user's place
        (f"Authorization: Bearer {SECRET}", "Authorization: Bearer **"),
        (f"api_key={SECRET} is wrong", "api_key=** is wrong"),
        (f"NIGHTSHIFT_MODEL__KEY: {SECRET}", "NIGHTSHIFT_MODEL__KEY: **"),
        (f"{{'token': '{SECRET}', 'n': 1}}", "{'token': '**', 'n': 1}"),
        ("Incorrect API key provided: sk-or-v1-0123456789abcdef", "Incorrect API key provided: **"),
        (
            "https://model.example/v1?alt=json&key=AIzaSyD0123456789",
            "https://model.example/v1?alt=json&key=**",
        ),
    ],
)
def test_secrets_are_masked_and_what_stands_around_them_stays(said: str, told: str) -> None:
    assert masked(said) == told
    assert masked(told) == told


@pytest.mark.parametrize(
    "said",
    [
        "claim token 3 is no longer the one that counts",
        "setting 'key': Input should be a valid string",
        'a log line {"tokens": 25, "token": 7, "task-runner": "x"}',
        "mail ann@example.org about http://host:80/path",
        "",
    ],
)
def test_what_is_no_secret_stays(said: str) -> None:
    assert masked(said) == said


def test_a_line_of_json_stays_json() -> None:
    line = {"event": f'sent {{"token": "{SECRET}"}} to redis://a:{SECRET}@h/0', "token": 5, "key": SECRET}
    told = masked(json.dumps(line))
    assert SECRET not in told
    assert json.loads(told)["token"] == 5
