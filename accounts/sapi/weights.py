"""How much a program may ask a minute, as the exchange counts it: a weight per endpoint, 429 above, then a 418 ban.

Weight counts for the address together with its key, or for the account, as each endpoint says. Counting is kept in
Valkey, not in the books: without it requests are served uncounted, for a lost counter must not stop a repayment. What
reads and writes were signed with is remembered here too, so that nobody makes the one of the other.
"""

import logging
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Final

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from accounts.keys import Caller
from accounts.sapi.errors import TOO_MANY, Denied
from accounts.sapi.registry import Endpoint

logger = logging.getLogger(__name__)

MINUTE: Final = 60  # seconds
PATIENCE: Final = 50  # requests over the limit in one minute, before a ban
FIRST_BAN: Final = 120  # seconds; each further one within a week is twice as long
LONGEST_BAN: Final = 3 * 24 * 3600
BANS_KEPT: Final = 7 * 24 * 3600
SIGNATURE_KEPT: Final = 130  # seconds; longer than twice the longest window


@dataclass(frozen=True, slots=True)
class Counted:
    """`headers` for the answer; `reused`: the signature was a read's and is a write's now, or the other way."""

    headers: dict[str, str]
    reused: bool = False


def count(
    endpoint: Endpoint, *, address: str, caller: Caller | None, at: datetime, signature: str = ""
) -> Counted:
    """Add this request's weight; one round trip.

    Raises:
        Denied: over the limit (429) or banned (418), with the seconds to wait.
    """
    program = _program(address, caller)
    who = f"uid:{caller.account.pk}" if caller is not None and endpoint.uid else program
    what = "api" if _is_api(endpoint) else endpoint.name
    minute = int(at.timestamp()) // MINUTE
    try:
        banned, used, known = _added(f"{who}:{what}:{minute}", program, endpoint, caller, signature)
    except redis.RedisError as error:
        logger.warning("requests go uncounted: %s", error)
        return Counted({})
    if banned > 0:
        raise Denied(
            TOO_MANY, "Way too much request weight used; banned for now.", status=418, retry_after=banned
        )
    limit, header = _limit(endpoint)
    headers = dict.fromkeys(header, str(used))
    if used > limit:
        _over(program, minute)
        refusal = Denied(
            TOO_MANY,
            f"Too much request weight used; current limit is {limit} request weight per 1 MINUTE.",
            status=429,
            retry_after=_left(at),
        )
        refusal.headers = headers
        raise refusal
    return Counted(headers, reused=known)


def wait(who: str, *, at: datetime) -> int:
    """Count one request of our own API by `who`; the seconds until they may ask again, 0 when they may now."""
    try:
        steps = _valkey().pipeline(transaction=False)
        steps.incr(f"v1:used:{who}:{int(at.timestamp()) // MINUTE}")
        steps.expire(f"v1:used:{who}:{int(at.timestamp()) // MINUTE}", 2 * MINUTE)
        times = int(steps.execute()[0])
    except redis.RedisError as error:
        logger.warning("requests go uncounted: %s", error)
        return 0
    return _left(at) if times > settings.API_WEIGHT else 0


def failed(*, address: str, at: datetime) -> None:
    """Count a request that nobody could be told from. Only such requests are held back: a neighbour is served on.

    Raises:
        Denied: too many of them came from there this minute (429).
    """
    name = f"sapi:failed:{address}:{int(at.timestamp()) // MINUTE}"
    try:
        steps = _valkey().pipeline(transaction=False)
        steps.incr(name)
        steps.expire(name, 2 * MINUTE)
        times = int(steps.execute()[0])
    except redis.RedisError as error:
        logger.warning("failures go uncounted: %s", error)
        return
    if times > settings.SAPI_FAILURES:
        raise Denied(
            TOO_MANY,
            "Too many requests with a wrong key or signature from this address.",
            status=429,
            retry_after=_left(at),
        )


def _left(at: datetime) -> int:
    """Seconds until the next minute."""
    return MINUTE - int(at.timestamp()) % MINUTE


def _is_api(endpoint: Endpoint) -> bool:
    return endpoint.path.startswith("/api/")


def _limit(endpoint: Endpoint) -> tuple[int, tuple[str, ...]]:
    if _is_api(endpoint):
        return settings.API_WEIGHT, ("X-MBX-USED-WEIGHT", "X-MBX-USED-WEIGHT-1M")
    if endpoint.uid:
        return settings.SAPI_UID_WEIGHT, ("X-SAPI-USED-UID-WEIGHT-1M",)
    return settings.SAPI_IP_WEIGHT, ("X-SAPI-USED-IP-WEIGHT-1M",)


def _program(address: str, caller: Caller | None) -> str:
    """Who is banned: never an account, or a key that only reads could keep the others from repaying."""
    return f"ip:{address}" if caller is None else f"ip:{address}:{caller.key.pk}"


def _added(
    counter: str, program: str, endpoint: Endpoint, caller: Caller | None, signature: str
) -> tuple[int, int, bool]:
    """Seconds of ban left (0 or less: none), weight used this minute, whether the signature served the other way."""
    steps = _valkey().pipeline(transaction=False)
    steps.ttl(f"sapi:ban:{program}")
    steps.incrby(f"sapi:used:{counter}", endpoint.weight)
    steps.expire(f"sapi:used:{counter}", 2 * MINUTE)
    if caller is not None and signature:
        mine, other = ("write", "read") if endpoint.is_write else ("read", "write")
        name = f"{caller.key.pk}:{signature}"
        steps.set(
            f"sapi:{mine}:{name}", "1", ex=SIGNATURE_KEPT
        )  # first, so that of two at once one sees the other
        steps.exists(f"sapi:{other}:{name}")
    found: list[Any] = steps.execute()
    return int(found[0]), int(found[1]), bool(found[4:] and found[4])


def _over(program: str, minute: int) -> None:
    """Who goes on after a 429 is banned: two minutes first, then twice as long each time, three days at most."""
    try:
        times = int(_valkey().incr(f"sapi:over:{program}:{minute}"))
        _valkey().expire(f"sapi:over:{program}:{minute}", 2 * MINUTE)
        if times > PATIENCE:
            before = int(_valkey().incr(f"sapi:bans:{program}")) - 1
            _valkey().expire(f"sapi:bans:{program}", BANS_KEPT)
            seconds = min(FIRST_BAN * 2 ** min(before, 20), LONGEST_BAN)
            _valkey().set(f"sapi:ban:{program}", "1", ex=seconds, nx=True)
            logger.warning("%s is banned for %s s", program, seconds)
    except redis.RedisError as error:
        logger.warning("nobody is banned: %s", error)


def _valkey() -> "redis.Redis":
    return _client(settings.REDIS_URL)


@cache
def _client(url: str) -> "redis.Redis":
    """Clients wait a second for an answer, so nobody waits for a counter that hangs, or tries it again."""
    return redis.Redis.from_url(
        url, socket_timeout=0.25, socket_connect_timeout=0.25, retry=Retry(NoBackoff(), 0)
    )
