"""
What a bot imports to be always-on: it tells what it sees, and does what there is to do.

    async with Nightshift(url, token, platform="discord", speak=say) as night:
        night.connected(user_id="4711")
        await night.observe("general", "m1", "good night", user_id="42", at=now)
        async for work in night.work():
            await work.reply("sleep well")

It needs aiohttp (``pip install nightshift[client]``) and nothing else. What it tells is gathered and sent in
the background, again and again while the other side is away, so a bot never waits for it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import secrets
import time
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Iterator,
    Mapping,
)
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import quote, urlsplit

from nightshift.base.errors import BadSetting, Forbidden, NightshiftError
from nightshift.base.limits import LONGEST_DELIVERY as LONGEST_ANSWER

if TYPE_CHECKING:
    import aiohttp

__all__ = ["Delivery", "Nightshift", "Said", "Work"]

log = logging.getLogger("nightshift.client")

#: What platforms call things; some by numbers.
Id = str | int
#: Says a text in a channel; the message's id, if there is such a thing.
Speak = Callable[[str, str], Awaitable[Id | None]]
#: What is told is sent after this long, or as soon as there is so much of it.
GATHER_S, GATHER = 1.0, 100
#: What one request carries at the most.
MOST, MOST_BYTES = 500, 1_000_000
#: What waits to be sent while the other side is away; beyond, the oldest is dropped, and said to be.
KEPT = 10_000
#: More of a text than is kept of it over there, so that it is known there to have been cut.
LONGEST_TEXT = 32 * 1024 + 1
ALIVE_EVERY_S = 30
#: What is being said is the bot's for a minute; it says so often that it still is.
HOLD_EVERY_S = 20
#: How long one question for work waits.
WAIT_S = 30
ANSWER_S = 20
#: Pauses between tries, doubling; each is drawn from half of it to one and a half times.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
#: How long closing waits for what is still to be told.
LAST_WORDS_S = 10.0
#: Problems that are about what the bot works on; whoever else finds nothing there is a proxy, say.
GONE = {
    f"urn:nightshift:{kind}" for kind in ("unknown-run", "unknown-delivery", "lost-lease", "not-possible")
}


class Lost(NightshiftError):
    """It is somebody else's now, or nobody's any more."""


@dataclass(frozen=True)
class Said:
    """A message of the channel that work comes from; whoever wrote it chose every word and every name."""

    id: str
    user_id: str
    user_name: str
    text: str
    at: datetime
    origin: str


@dataclass
class Work:
    """Something for the agent to do. It is renewed for as long as the loop's body thinks about it."""

    run: str
    platform: str
    #: The channel's id on the platform; the answer goes there.
    channel: str
    #: Why the agent is woken, as ``heartbeat``.
    cause: str
    #: What it is to do, or to say.
    instruction: str
    #: What was said last in the channel, oldest first.
    context: tuple[Said, ...]
    attempt: int
    _line: _Line = field(repr=False)
    _token: int = field(repr=False)
    _lease_s: float = field(repr=False)
    #: Somebody else does it now, or a person stopped it: saying something is of no use any more.
    lost: bool = False
    ended: bool = False

    async def reply(self, text: str) -> bool:
        """
        Answer where the work came from; false if it was lost meanwhile, and then nothing is said.

        What is longer than a delivery may be is cut; a blank answer declines.
        """
        said = _whole(text)[:LONGEST_ANSWER]
        if not said.strip():
            return await self.decline("its answer was blank")
        return await self._end("reply", text=said)

    async def decline(self, reason: str = "") -> bool:
        """End it without a word; the reason is told to whoever asks why."""
        return await self._end("decline", reason=_whole(reason)[:500])

    async def _end(self, how: str, **what: str) -> bool:
        self.ended = not self.lost and await self._call(how, **what) is not None
        return self.ended

    async def _keep(self) -> None:
        while not (self.ended or self.lost):
            await asyncio.sleep(self._lease_s / 3)
            answer = await self._call("renew")
            if answer and answer["stop"]:
                self.lost = True

    async def _call(self, what: str, **body: str) -> Any:
        """What is answered; nothing if the work is lost."""
        path = f"/v1/work/{quote(self.run, safe='')}/{what}"
        try:
            return await self._line.ask("POST", path, {"token": self._token, **body})
        except Lost as error:
            log.warning("work %s is lost: %s", self.run, error)
            self.lost = True
            return None


@dataclass
class Delivery:
    """Something that the bot is to say with its own voice. It is held while the loop's body says it."""

    id: str
    platform: str
    channel: str
    text: str
    #: The message that it answers, if any.
    reply_to: str
    #: The same for every try, for platforms that know a message again.
    key: str
    #: It was handed out before, and nobody told what became of it.
    maybe_sent: bool
    _line: _Line = field(repr=False)

    async def sent(self, message_id: Id) -> None:
        """Say that it is said, and what the platform calls it, so that its echo is known."""
        await self._tell("sent", message_id=str(message_id))

    async def failed(self, reason: str) -> None:
        """Say that the platform would not take it."""
        await self._tell("failed", reason=_whole(reason)[:500] or "its bot gave no reason")

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(HOLD_EVERY_S)
            held = f"platform={quote(self.platform)}&holding={quote(self.id, safe='')}"
            await self._line.ask("GET", f"/v1/deliveries/pull?wait=0&limit=0&{held}")

    async def _tell(self, what: str, **body: str) -> None:
        try:
            await self._line.ask("POST", f"/v1/deliveries/{quote(self.id, safe='')}/{what}", body)
        except Lost as error:
            log.warning("delivery %s: %s", self.id, error)


class Nightshift:
    """A bot's side of nightshift; one for each platform that it is connected to."""

    def __init__(
        self, url: str, token: str, *, platform: str, speak: Speak | None = None, process: str = ""
    ) -> None:
        """
        ``platform`` is what the platform is called in nightshift's settings, such as ``discord``.

        ``speak`` says a text in a channel, and returns what the platform calls the message, if anything; for
        agents whose bot itself says what they answer (``delivers = "bot"``). If it raises, the delivery has
        failed. What may have been said before is not said again. Whoever wants to tell more of it, or can
        look, takes ``deliveries`` instead.

        ``process`` tells apart the processes of a bot that runs as several; each makes one up if it has none.
        """
        self._line = _Line(url, token)
        self._platform = platform
        self._speak = speak
        self._process = process or secrets.token_hex(6)
        self._waiting: deque[str] = deque()
        self._channels: dict[str, dict[str, Any]] = {}
        self._dropped = 0
        self._told, self._enough, self._changed = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._closing = False
        #: Not set while something is being said.
        self._silent = asyncio.Event()
        self._silent.set()
        self._connected: dict[str, Any] | None = None
        self._telling: asyncio.Task[None] | None = None
        #: What goes on besides, and stops at once when it closes.
        self._besides: list[asyncio.Task[None]] = []

    # Coming and going

    async def start(self) -> Self:
        """Begin; the same as entering it with ``async with``."""
        self._line.open()
        self._telling = asyncio.create_task(self._tell())
        self._besides = [asyncio.create_task(self._say_alive())]
        if self._speak:
            self._besides.append(asyncio.create_task(self._deliver(self._speak)))
        for task in (self._telling, *self._besides):
            task.add_done_callback(_complain)
        return self

    async def close(self) -> None:
        """
        End, once what was told is sent and what is being said has been said.

        What takes more than seconds of this is given up, and said to be.
        """
        self._closing = True
        self._told.set()
        self._enough.set()
        if self._telling:
            with suppress(TimeoutError):  # cut off, nobody would know whether it was said
                await asyncio.wait_for(self._silent.wait(), LAST_WORDS_S)
            for task in self._besides:
                task.cancel()
            await asyncio.wait({self._telling}, timeout=LAST_WORDS_S)
            self._telling.cancel()
            await asyncio.wait({self._telling, *self._besides})
        if self._waiting:
            log.warning("%d messages were not told: nightshift was away", len(self._waiting))
        await self._line.close()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def connected(self, user_id: Id, *, channels: Collection[Id] = ()) -> None:
        """
        The bot is connected to its platform under this user id; said every 30 s from now on.

        ``channels`` are those that this process serves, if it is not all of the platform.
        """
        self._connected = {
            "platform": self._platform,
            "process": self._process,
            "user_id": str(user_id),
            "connected_since": datetime.now(UTC).isoformat(),
            "channels": list(map(str, channels)),
        }
        self._changed.set()

    def disconnected(self) -> None:
        """The bot has lost its platform: nobody is to speak through it until it is connected again."""
        self._connected = None

    # Telling

    async def observe(
        self,
        channel: Id,
        id: Id,
        text: str,
        *,
        user_id: Id,
        user_name: str = "",
        at: datetime,
        origin: Literal["human", "agent", "system"] = "human",
        reply_to: Id = "",
    ) -> None:
        """
        Tell of a message; also of the bot's own, which are known by its user id.

        ``origin`` is ``agent`` for what other bots say, and ``system`` for what the platform itself says.
        """
        self._note(
            kind="new",
            channel=channel,
            id=id,
            text=text,
            user_id=user_id,
            user_name=user_name,
            at=_instant(at),
            origin=origin,
            reply_to=reply_to,
        )

    async def edited(self, channel: Id, id: Id, text: str, *, at: datetime | None = None) -> None:
        """Tell that a message reads differently now; ``at`` is when it was changed."""
        changed = {"edited_at": _instant(at)} if at else {}
        self._note(kind="edited", channel=channel, id=id, text=text, **changed)

    async def deleted(self, channel: Id, id: Id) -> None:
        """Tell that a message was taken back."""
        self._note(kind="deleted", channel=channel, id=id)

    async def channel(
        self,
        id: Id,
        name: str,
        *,
        server_id: Id = "",
        server_name: str = "",
        is_dm: bool = False,
        members: int | None = None,
    ) -> None:
        """Tell what a channel is called, and what it belongs to; worth doing whenever that changes."""
        named = {"id": id, "name": name, "server_id": server_id, "server_name": server_name}
        seen = {**{field: _whole(str(text)) for field, text in named.items()}, "is_dm": is_dm}
        self._channels[str(id)] = seen if members is None else {**seen, "members": members}
        self._told.set()

    def _note(self, **seen: Id) -> None:
        if len(self._waiting) >= KEPT:
            self._waiting.popleft()
            self._dropped += 1
        fields = {name: _whole(str(value)) for name, value in seen.items() if value != ""}
        self._waiting.append(json.dumps(fields))
        self._told.set()
        if len(self._waiting) >= GATHER:
            self._enough.set()

    async def _tell(self) -> None:
        """Send what was noted, for as long as this runs."""
        while True:
            await self._told.wait()
            await _first(self._enough, GATHER_S)
            self._told.clear()
            self._enough.clear()
            while self._waiting or self._channels:
                await self._tell_some()
            if self._closing:
                return

    async def _tell_some(self) -> None:
        channels = [self._channels.pop(id) for id in list(self._channels)[:MOST]]
        batch = _up_to_a_size(self._waiting)
        if self._dropped:
            log.warning("%d messages were dropped: nightshift has been away for long", self._dropped)
            self._dropped = 0
        body = (
            f'{{"platform":{json.dumps(self._platform)},"channels":{json.dumps(channels)},'
            f'"messages":[{",".join(batch)}]}}'
        )
        try:
            answer = await self._line.ask("POST", "/v1/observe", body)
        except _Refused as error:
            log.error("%d messages were refused: %s", len(batch), error)  # noqa: TRY400  it says all there is
            return
        except asyncio.CancelledError:
            self._waiting.extendleft(reversed(batch))
            raise
        for told, outcome in zip(batch, answer["outcomes"], strict=True):
            if outcome not in ("new", "edited", "deleted", "echo", "known"):
                seen = json.loads(told)
                log.warning("message %s of channel %s was refused: %s", seen["id"], seen["channel"], outcome)

    async def _say_alive(self) -> None:
        while True:
            self._changed.clear()
            if self._connected:
                await self._line.ask("POST", "/v1/alive", self._connected)
            await _first(self._changed, ALIVE_EVERY_S if self._connected else None)

    # Doing

    async def work(self) -> AsyncGenerator[Work]:
        """
        What there is for the agent to do, one thing after the other, without end.

        It is renewed while the loop's body thinks; what the body leaves unanswered is declined.
        """
        async for found in self._found(f"/v1/work?wait={WAIT_S}"):
            work = self._work(found)
            with _meanwhile(work._keep()):
                yield work
            if not work.ended:
                await work.decline("the bot left it unanswered")

    def _work(self, found: Mapping[str, Any]) -> Work:
        return Work(
            run=found["run"],
            platform=found["channel"]["platform"],
            channel=found["channel"]["id"],
            cause=found["cause"],
            instruction=found["instruction"],
            context=tuple(
                Said(**{**said, "at": datetime.fromisoformat(said["at"])}) for said in found["context"]
            ),
            attempt=found["attempt"],
            _line=self._line,
            _token=found["token"],
            _lease_s=found["lease_s"],
        )

    async def deliveries(self) -> AsyncGenerator[Delivery]:
        """
        What the bot is to say with its own voice, for agents whose settings say ``delivers = "bot"``.

        Each is the bot's own while the loop's body says it. Say of each what became of it, with ``sent`` or
        ``failed``; otherwise it is handed out again. There is none before the bot says that it is connected.
        """
        # One at a time, because each is the bot's for a minute only.
        ours = f"platform={quote(self._platform)}&process={quote(self._process)}"
        async for found in self._found(f"/v1/deliveries/pull?wait={WAIT_S}&limit=1&{ours}", "deliveries"):
            for each in found["deliveries"]:
                delivery = Delivery(
                    id=each["id"],
                    platform=each["platform"],
                    channel=each["channel_id"],
                    text=each["text"],
                    reply_to=each["reply_to"],
                    key=each["key"],
                    maybe_sent=each["maybe_sent"],
                    _line=self._line,
                )
                with _meanwhile(delivery._keep()):
                    yield delivery

    async def _deliver(self, speak: Speak) -> None:
        async for delivery in self.deliveries():
            if delivery.maybe_sent:  # nobody here can look, and untold it is unknown in the end
                log.warning("delivery %s may have been said before, and is not said again", delivery.id)
                continue
            self._silent.clear()
            try:
                id = await speak(delivery.channel, delivery.text)
            except Exception as error:
                # Its words stay in the bot's own log: platforms' errors quote addresses, and those tokens.
                log.exception("delivery %s was not said", delivery.id)
                await delivery.failed(f"the bot met {type(error).__name__}; its log says more")
            else:
                await delivery.sent(id or delivery.key)
            finally:
                self._silent.set()

    async def _found(self, path: str, name: str = "run") -> AsyncIterator[Any]:
        """What this long question finds under this name, again and again."""
        while not self._closing:
            began = time.monotonic()
            try:
                found = await self._line.ask("GET", path, waits=WAIT_S)
            except _Closed:
                return
            except Forbidden as error:
                log.error("no work is given: %s", error)  # noqa: TRY400  the task it ends may be nobody's
                raise
            if found and found[name]:
                yield found
            elif time.monotonic() - began < 1:  # who sends us away at once is not asked at once again
                await asyncio.sleep(_drawn(FIRST_PAUSE_S))


class _Line:
    """The way to the other side: asked until there is an answer."""

    def __init__(self, url: str, token: str) -> None:
        self._url = _origin(url)
        self._token = token
        self._session: aiohttp.ClientSession | None = None
        self._away = False

    def open(self) -> None:
        try:
            import aiohttp
        except ImportError as error:
            raise BadSetting(
                "a bot needs aiohttp to reach nightshift; `pip install nightshift[client]`"
            ) from error
        # Never shown to anybody else: no redirect is followed.
        headers = {"Authorization": f"Bearer {self._token}", "User-Agent": "nightshift-client"}
        self._session = aiohttp.ClientSession(headers=headers)

    async def close(self) -> None:
        if self._session:
            await self._session.close()
            self._session = None

    async def ask(
        self, method: str, path: str, body: Mapping[str, Any] | str | None = None, *, waits: float = 0
    ) -> Any:
        """The answer; what is asked is such that asking twice is asking once."""
        for pause in _pauses():
            try:
                answer = await self._ask_once(method, path, body, waits)
            except _Away as away:
                if not self._away:  # said once, however many ask and however long it takes
                    log.warning("nightshift at %s is away, and asked again and again: %s", self._url, away)
                self._away = True
                await asyncio.sleep(away.retry_after or pause)
            else:
                if self._away:
                    log.warning("nightshift at %s is there again", self._url)
                self._away = False
                return answer
        raise AssertionError("there is always another pause")

    async def _ask_once(
        self, method: str, path: str, body: Mapping[str, Any] | str | None, waits: float
    ) -> Any:
        import aiohttp

        if self._session is None:
            raise _Closed("this Nightshift is closed, or not started yet: `async with`, or `start()`")
        data = json.dumps(body) if isinstance(body, Mapping) else body
        try:
            async with self._session.request(
                method,
                self._url + path,
                data=data,
                headers={"Content-Type": "application/json"} if data else None,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=ANSWER_S + waits),
            ) as response:
                if response.status == 204:
                    return None
                text = await response.text()
                if response.status == 200:
                    return json.loads(text)
                raise _said_no(response.status, response.headers, text)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise _Away(f"{type(error).__name__}: {error}") from error


class _Closed(NightshiftError):
    """Nobody is on the line."""


class _Away(Exception):
    """No answer, or one that says to come again."""

    def __init__(self, why: str, retry_after: float = 0) -> None:
        super().__init__(why)
        self.retry_after = retry_after


class _Refused(NightshiftError):
    """What was asked makes no sense to the other side."""


def _said_no(status: int, headers: Mapping[str, str], text: str) -> Exception:
    kind, detail = _problem(text)
    retry_after = headers.get("Retry-After", "")
    if status < 400:
        where = headers.get("Location", "elsewhere")
        return BadSetting(
            f"nightshift's address leads on to {where}, where the token is not shown; give that"
        )
    if status in (401, 403):
        return Forbidden(
            f"nightshift does not let this bot in: {detail}; "
            "`nightshift tokens create NAME --role bot` makes a token"
        )
    if kind in GONE:
        return Lost(detail)
    if status in (404, 408, 409, 429) or status >= 500:
        return _Away(f"{status} {detail}", float(retry_after) if retry_after.isdigit() else 0)
    return _Refused(f"{status} {detail}")


def _problem(text: str) -> tuple[str, str]:
    """Which kind of problem it is, if it is one of ours, and what it says."""
    try:
        problem = json.loads(text)
        return str(problem.get("type")), str(problem["detail"])
    except (ValueError, AttributeError, LookupError):
        return "", text[:200]  # a proxy's words rather than ours


def _origin(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadSetting(f"{url!r} is no address of nightshift; give one like http://127.0.0.1:8390")
    return url.rstrip("/").removesuffix("/v1")


def _pauses() -> Iterator[float]:
    pause = FIRST_PAUSE_S
    while True:
        yield _drawn(pause)
        pause = min(pause * 2, LONGEST_PAUSE_S)


def _drawn(pause: float) -> float:
    return pause * random.uniform(0.5, 1.5)  # noqa: S311  so that many bots do not come back together


def _up_to_a_size(waiting: deque[str]) -> list[str]:
    """Take as much as one request carries."""
    taken: list[str] = []
    size = 0
    while waiting and len(taken) < MOST and (not taken or size + len(waiting[0]) < MOST_BYTES):
        taken.append(waiting.popleft())
        size += len(taken[-1]) + 1
    return taken


async def _first(event: asyncio.Event, seconds: float | None) -> None:
    """Until this happens, or for so long."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def _whole(text: str) -> str:
    """The text in whole characters, no longer than anybody keeps it."""
    return text[:LONGEST_TEXT].encode(errors="replace").decode()


def _instant(at: datetime) -> str:
    if at.tzinfo is None:
        raise BadSetting(f"{at} has no time zone; pass an aware datetime, such as datetime.now(UTC)")
    return at.isoformat()


@contextmanager
def _meanwhile(doing: Coroutine[Any, Any, None]) -> Iterator[None]:
    """Do this besides, until what is within is done."""
    task = asyncio.create_task(doing)
    task.add_done_callback(_complain)
    try:
        yield
    finally:
        task.cancel()


def _complain(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        log.error("nightshift is told nothing more: %s", error)
