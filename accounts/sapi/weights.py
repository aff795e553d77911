"""How much a program may ask a minute, as the exchange counts it: a weight per endpoint, 429 above, then a 418 ban.

Weight counts for the address together with its key, or for the account, as each endpoint says. Counting is kept in
Valkey, not in the books: without it requests are served uncounted, for a lost counter must not stop a repayment. What a
read was signed with is remembered here too, so that nobody makes a write of it.
"""

import logging
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Final

import redis
from django.conf import settings

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
    """`headers` for the answer; `reused`: the signature was a read's before."""

    headers: dict[str, str]
    reused: bool = False


def count(
    endpoint: Endpoint, *, address: str, caller: Caller | None, at: datetime, signature: str = ""
) -> Counted:
    """Add this request's weight; one round trip.

    Raises:
        Denied: over the limit (429) or banned (418), with the seconds to wait.
    """
    is_api = endpoint.path.startswith("/api/")
    who = _who(endpoint, address, caller)
    what = "api" if is_api else endpoint.name
    minute = int(at.timestamp()) // MINUTE
    try:
        banned, used, known = _added(f"{who}:{what}:{minute}", who, endpoint, caller, signature)
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
        wait = MINUTE - int(at.timestamp()) % MINUTE
        _over(who, minute)
        refusal = Denied(
            TOO_MANY,
            f"Too much request weight used; current limit is {limit} request weight per 1 MINUTE.",
            status=429,
            retry_after=wait,
        )
        refusal.headers = headers
        raise refusal
    return Counted(headers, reused=known)


def _limit(endpoint: Endpoint) -> tuple[int, tuple[str, ...]]:
    if endpoint.path.startswith("/api/"):
        return settings.API_WEIGHT, ("X-MBX-USED-WEIGHT", "X-MBX-USED-WEIGHT-1M")
    if endpoint.uid:
        return settings.SAPI_UID_WEIGHT, ("X-SAPI-USED-UID-WEIGHT-1M",)
    return settings.SAPI_IP_WEIGHT, ("X-SAPI-USED-IP-WEIGHT-1M",)


def _who(endpoint: Endpoint, address: str, caller: Caller | None) -> str:
    if caller is None:
        return f"ip:{address}"
    return f"uid:{caller.account.pk}" if endpoint.uid else f"ip:{address}:{caller.key.pk}"


def _added(
    counter: str, who: str, endpoint: Endpoint, caller: Caller | None, signature: str
) -> tuple[int, int, bool]:
    """Seconds of ban left (0 or less: none), weight used this minute, whether a read had this signature."""
    steps = _valkey().pipeline(transaction=False)
    steps.ttl(f"sapi:ban:{who}")
    steps.incrby(f"sapi:used:{counter}", endpoint.weight)
    steps.expire(f"sapi:used:{counter}", 2 * MINUTE)
    if caller is not None and signature:
        name = f"sapi:read:{caller.key.pk}:{signature}"
        if endpoint.is_write:
            steps.exists(name)
        else:
            steps.set(name, "1", ex=SIGNATURE_KEPT)
    found: list[Any] = steps.execute()
    return int(found[0]), int(found[1]), endpoint.is_write and bool(found[3:] and found[3])


def _over(who: str, minute: int) -> None:
    """Who goes on after a 429 is banned: two minutes first, then twice as long each time, three days at most."""
    try:
        times = int(_valkey().incr(f"sapi:over:{who}:{minute}"))
        _valkey().expire(f"sapi:over:{who}:{minute}", 2 * MINUTE)
        if times > PATIENCE:
            before = int(_valkey().incr(f"sapi:bans:{who}")) - 1
            _valkey().expire(f"sapi:bans:{who}", BANS_KEPT)
            seconds = min(FIRST_BAN * 2 ** min(before, 20), LONGEST_BAN)
            _valkey().set(f"sapi:ban:{who}", "1", ex=seconds, nx=True)
            logger.warning("%s is banned for %s s", who, seconds)
    except redis.RedisError as error:
        logger.warning("nobody is banned: %s", error)


def _valkey() -> "redis.Redis":
    return _client(settings.REDIS_URL)


@cache
def _client(url: str) -> "redis.Redis":
    return redis.Redis.from_url(url, socket_timeout=0.5, socket_connect_timeout=0.5)
