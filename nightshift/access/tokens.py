"""
Who may use the web, and for what.

A token is known to its bearer alone: the store has its hash, and that of every browser signed in with it.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Self

from redis.asyncio import Redis

from nightshift.base.errors import BadSetting, Forbidden, NotPossible
from nightshift.base.instants import from_ms, to_ms
from nightshift.store.client import store_now, text_field, text_hash, text_value
from nightshift.store.keys import Keys

PREFIX = "nst_"
#: The token that the deployment is started with.
FIRST = "first"
LONGEST_NAME = 100
LONGEST_LIFE = timedelta(days=3650)
#: Who signed in signs in again after this.
SESSION = timedelta(hours=12)


class Scope(StrEnum):
    """One kind of thing that may be done."""

    METRICS = "metrics"
    READ = "read"
    OPERATE = "operate"
    ADMIN = "admin"
    AGENT = "agent"


class Role(StrEnum):
    """What a person, or a bot, is here for."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"
    BOT = "bot"

    @property
    def scopes(self) -> frozenset[Scope]:
        if self is Role.BOT:
            return frozenset({Scope.AGENT})
        return frozenset(list(Scope)[: {"viewer": 2, "operator": 3, "admin": 4}[self]])


@dataclass(frozen=True)
class Token:
    """What one token lets its bearer do; the token itself is known to the bearer alone."""

    name: str
    role: Role
    scopes: frozenset[Scope]
    #: Whose runs its bearer may see; everybody's when unset.
    tenant: str | None
    created: datetime
    expires: datetime | None
    digest: str
    #: Of a bot's token: the agent that it speaks for.
    agent: str | None = None

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes

    def sees(self, tenant: str | None) -> bool:
        """Whether something of this tenant, or of the deployment itself, is the bearer's to see."""
        return self.tenant is None or self.tenant == tenant

    def to_json(self) -> str:
        return json.dumps(
            {
                "name": self.name,
                "role": self.role,
                "scopes": sorted(self.scopes),
                "tenant": self.tenant,
                "agent": self.agent,
                "created": to_ms(self.created),
                "expires": to_ms(self.expires) if self.expires else None,
            }
        )

    @classmethod
    def from_json(cls, digest: str, text: str) -> Self:
        row: dict[str, Any] = json.loads(text)
        return cls(
            name=row["name"],
            role=Role(row["role"]),
            scopes=frozenset(map(Scope, row["scopes"])),
            tenant=row["tenant"],
            created=from_ms(row["created"]),
            expires=from_ms(row["expires"]) if row["expires"] else None,
            digest=digest,
            agent=row.get("agent"),
        )


def new_secret() -> str:
    """A token that nobody can guess; its start tells scanners of leaked secrets what it is."""
    return PREFIX + secrets.token_urlsafe(32)


class Tokens:
    """The tokens as they stand in the store."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys

    async def create(
        self,
        name: str,
        role: Role = Role.VIEWER,
        *,
        scopes: Collection[Scope] = (),
        tenant: str | None = None,
        agent: str | None = None,
        lifetime: timedelta | None = None,
    ) -> str:
        """Make a token and return it, for the only time."""
        if not name.isprintable() or not 0 < len(name.strip()) == len(name) <= LONGEST_NAME or name == FIRST:
            raise BadSetting(
                f"{name!r} is no name for a token: it is {LONGEST_NAME} visible characters at most, and not "
                f"{FIRST!r}, which is the deployment's own"
            )
        if lifetime is not None and not timedelta() < lifetime <= LONGEST_LIFE:
            raise BadSetting(
                f"a token expires within moments and {LONGEST_LIFE.days} days, not after {lifetime}; "
                "leave it out for one that never does"
            )
        if any(token.name == name for token in await self.list()):
            raise NotPossible(
                f"there is a token called {name!r} already; revoke it first, or choose another name"
            )
        if (role is Role.BOT) != (agent is not None) or (agent and tenant is None):
            raise BadSetting(
                f"a bot's token is bound to an agent and its tenant, and no other role's is; "
                f"this {role}'s would be of agent {agent!r} and tenant {tenant!r}"
            )
        secret = new_secret()
        await self._store(secret, name, role, scopes, tenant, lifetime, agent)
        return secret

    async def install_bot(self, secret: str, *, tenant: str, agent: str) -> None:
        """Let the bot of this agent in with the token that is kept for it, and no earlier one."""
        name = f"bot of {agent}"
        await self._forget_others(name, secret)
        if await self.find(secret) is None:
            await self._store(secret, name, Role.BOT, (), tenant, None, agent)

    async def install_first(self, secret: str) -> None:
        """Let the token that the deployment is started with in, and no earlier one of its kind."""
        if len(secret) < 32:
            raise BadSetting(
                f"the web's first token has {len(secret)} characters, which can be guessed; "
                "give NIGHTSHIFT_WEB_TOKEN 32 or more random ones"
            )
        await self._forget_others(FIRST, secret)
        if await self.find(secret) is None:
            await self._store(secret, FIRST, Role.ADMIN, (), None, None)

    async def _forget_others(self, name: str, secret: str) -> None:
        for token in await self.list():
            if token.name == name and token.digest != _digest(secret):
                await self._redis.hdel(self._keys.tokens, token.digest)

    async def _store(
        self,
        secret: str,
        name: str,
        role: Role,
        scopes: Collection[Scope],
        tenant: str | None,
        lifetime: timedelta | None,
        agent: str | None = None,
    ) -> None:
        if beyond := sorted(set(scopes) - role.scopes):
            raise BadSetting(f"a {role} may not {', '.join(beyond)}; it may {', '.join(sorted(role.scopes))}")
        now = await store_now(self._redis)
        expires = now + lifetime if lifetime else None
        digest = _digest(secret)
        token = Token(name, role, frozenset(scopes) or role.scopes, tenant, now, expires, digest, agent)
        await self._redis.hset(self._keys.tokens, digest, token.to_json())

    async def find(self, secret: str) -> Token | None:
        """What this token lets its bearer do; nothing if there is none, or no longer."""
        return await self._by_digest(_digest(secret))

    async def holds(self, token: Token) -> bool:
        """Whether what was once found has neither expired nor been revoked since."""
        return await self._by_digest(token.digest) is not None

    async def _by_digest(self, digest: str) -> Token | None:
        stored = await text_field(self._redis, self._keys.tokens, digest)
        token = Token.from_json(digest, stored) if stored else None
        if token and token.expires and token.expires <= await store_now(self._redis):
            return None
        return token

    async def list(self) -> list[Token]:
        stored = await text_hash(self._redis, self._keys.tokens)
        return sorted((Token.from_json(*row) for row in stored.items()), key=lambda token: token.name)

    async def revoke(self, name: str) -> None:
        """End a token at once, and every browser that signed in with it."""
        for token in await self.list():
            if token.name == name:
                await self._redis.hdel(self._keys.tokens, token.digest)
                return
        known = ", ".join(token.name for token in await self.list()) or "none"
        raise NotPossible(f"there is no token called {name!r}; there are {known}")

    # Browsers

    async def sign_in(self, secret: str) -> str | None:
        """Start a session for the bearer of this token, and return the browser's cookie."""
        token = await self.find(secret)
        if token is None or not token.may(Scope.READ):
            return None
        cookie = secrets.token_urlsafe(32)
        await self._redis.set(self._keys.session(_digest(cookie)), token.digest, ex=SESSION)
        return cookie

    async def signed_in(self, cookie: str) -> Token | None:
        """Who this browser's cookie stands for."""
        digest = await text_value(self._redis, self._keys.session(_digest(cookie)))
        return await self._by_digest(digest) if digest else None

    async def sign_out(self, cookie: str) -> None:
        await self._redis.delete(self._keys.session(_digest(cookie)))


def require(token: Token, scope: Scope, *, everybody: bool = False) -> None:
    """Refuse what the token does not let its bearer do."""
    if not token.may(scope):
        raise Forbidden(f"token {token.name!r} may {', '.join(sorted(token.scopes))}; this needs {scope}")
    if everybody and token.tenant is not None:
        raise Forbidden(
            f"token {token.name!r} is of tenant {token.tenant!r}; this concerns the whole deployment"
        )


def _digest(secret: str) -> str:
    # Whole random bytes are hashed, not a word that a person chose, so one plain round is enough.
    return hashlib.sha256(secret.encode()).hexdigest()
