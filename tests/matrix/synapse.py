"""A real homeserver on loopback, for as long as the tests of a module last."""

from __future__ import annotations

import base64
import json
import secrets
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

PYTHON = Path(__file__).parents[2] / ".tools" / "synapse" / "bin" / "python"
START_WITHIN = 60
#: How many messages a user may send in a row, so that one test meets the limit and the others do not.
BURST = 30
NUMBERS = count(1)


@dataclass(frozen=True)
class User:
    """Somebody with an account, who does what the adapter never does."""

    url: str
    id: str
    token: str

    def ask(self, method: str, path: str, body: object = None) -> Any:
        request = urllib.request.Request(  # noqa: S310 (our own server)
            f"{self.url}/_matrix/client/v3/{path}",
            method=method,
            data=json.dumps(body if body is not None else {}).encode() if method != "GET" else None,
            headers={"Authorization": f"Bearer {self.token}"} if self.token else {},
        )
        with urllib.request.urlopen(request, timeout=20) as response:  # noqa: S310
            return json.load(response)

    def create_room(self, *invited: User, **how: Any) -> str:
        """A room to which these are invited."""
        room = self.ask("POST", "createRoom", {"invite": [user.id for user in invited], **how})
        return str(room["room_id"])

    def join(self, room: str) -> None:
        self.ask("POST", f"join/{quote(room)}")

    def encrypt(self, room: str) -> None:
        """Have the room encrypted end to end from now on."""
        path = f"rooms/{quote(room)}/state/m.room.encryption"
        self.ask("PUT", path, {"algorithm": "m.megolm.v1.aes-sha2"})

    def say(self, room: str, text: str, **more: Any) -> str:
        """Send a message; what it is called."""
        body = {"msgtype": "m.text", "body": text, **more}
        path = f"rooms/{quote(room)}/send/m.room.message/{time.monotonic_ns()}"
        return str(self.ask("PUT", path, body)["event_id"])

    def edit(self, room: str, message: str, text: str) -> str:
        content = {"msgtype": "m.text", "body": text}
        relation = {"rel_type": "m.replace", "event_id": message}
        return self.say(room, f"* {text}", **{"m.new_content": content, "m.relates_to": relation})

    def redact(self, room: str, message: str) -> None:
        self.ask("PUT", f"rooms/{quote(room)}/redact/{quote(message)}/{time.monotonic_ns()}")


@dataclass(frozen=True)
class Synapse:
    url: str

    def register(self, name: str) -> User:
        """A new user whose name begins so."""
        nobody = User(self.url, "", "")
        account = nobody.ask(
            "POST",
            "register",
            {
                "username": f"{name}{next(NUMBERS)}",
                "password": "a-password-of-these-tests",
                "auth": {"type": "m.login.dummy"},
            },
        )
        return User(self.url, account["user_id"], account["access_token"])


@contextmanager
def synapse(folder: Path) -> Iterator[Synapse]:
    """Have one running with its data in this folder."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = folder / "homeserver.yaml"
    config.write_text(json.dumps(_config(folder, port)))
    command = [str(PYTHON), "-m", "synapse.app.homeserver", "--config-path", str(config)]
    # In the form in which Synapse would make it, which takes it seconds.
    seed = base64.b64encode(secrets.token_bytes(32)).decode().rstrip("=")
    (folder / "signing.key").write_text(f"ed25519 a_test {seed}\n")
    log = folder / "synapse.log"
    with (
        log.open("w") as output,
        subprocess.Popen(command, cwd=folder, stdout=output, stderr=output) as server,
    ):
        try:
            _await_health(f"http://127.0.0.1:{port}/health", server, log)
            yield Synapse(f"http://127.0.0.1:{port}")
        finally:
            server.terminate()


def _config(folder: Path, port: int) -> dict[str, Any]:
    plenty = {"per_second": 1000, "burst_count": 1000}
    return {
        "server_name": "localhost",
        "listeners": [
            {
                "port": port,
                "type": "http",
                "bind_addresses": ["127.0.0.1"],
                "resources": [{"names": ["client", "health"]}],
            }
        ],
        "database": {"name": "sqlite3", "args": {"database": str(folder / "synapse.db")}},
        "media_store_path": str(folder / "media"),
        "signing_key_path": str(folder / "signing.key"),
        "pid_file": str(folder / "synapse.pid"),
        "macaroon_secret_key": "of these tests",
        "form_secret": "of these tests",
        "report_stats": False,
        "trusted_key_servers": [],
        "enable_registration": True,
        "enable_registration_without_verification": True,
        "bcrypt_rounds": 4,
        "presence": {"enabled": False},
        "rc_registration": plenty,
        "rc_joins": {"local": plenty, "remote": plenty},
        "rc_invites": {"per_room": plenty, "per_user": plenty, "per_issuer": plenty},
        "rc_room_creation": plenty,
        "rc_message": {"per_second": 1, "burst_count": BURST},
    }


def _await_health(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_WITHIN
    while True:
        try:
            with urllib.request.urlopen(url, timeout=1):  # noqa: S310
                return
        except OSError:
            if server.poll() is not None or time.monotonic() > until:
                raise AssertionError(f"Synapse did not start:\n{log.read_text()[-3000:]}") from None
            time.sleep(0.1)
