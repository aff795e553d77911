"""The dialect's door over a real socket: what a test client cannot leave out or send wrongly (TRUST B-18, SAPI 6)."""

import json
import socket
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from tests import build
from tests.accounts.wires import ECHO, Wire, echoing, signed, wire

Say = Callable[..., tuple[int, dict[str, str], bytes]]


@pytest.fixture
def say(live_site: str) -> Say:
    """Send exactly these lines; the status, the headers in lower case and the body of the answer."""
    site = urlsplit(live_site)

    def say(line: str, *headers: str, body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
        told = "\r\n".join(
            [f"{line} HTTP/1.1", f"Host: {site.netloc}", "Connection: close", *headers, "", ""]
        )
        with socket.create_connection((site.hostname, site.port), timeout=10) as wire:
            wire.sendall(told.encode("latin-1") + body)
            found = b"".join(iter(lambda: wire.recv(65536), b""))
        head, _, rest = found.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        named = dict(line.lower().split(": ", 1) for line in lines)
        return int(first.split()[1]), named, rest

    return say


@pytest.fixture
def one(committed_db: object) -> Wire:
    member = build.user()
    return wire(build.master(build.customer(member=member)), member)


def test_what_only_a_socket_can_send(one: Wire, say: Say) -> None:
    """B-18, SAPI 6.2, 6.6"""
    key = f"X-MBX-APIKEY: {one.key.key}"
    with echoing() as echo:
        # a form without a content type, as the plainest client sends it
        form = signed(one, "orderId=1").encode()
        status, headers, body = say(f"POST {ECHO}", key, f"Content-Length: {len(form)}", body=form)
        assert (status, json.loads(body)) == (200, {"served": 1})
        assert headers["content-type"] == "application/json;charset=utf-8"
        assert "no-store" in headers["cache-control"]
        # connector's own: JSON is announced and nothing is sent
        lines = ("Content-Type: application/json;charset=utf-8", "Content-Length: 0")
        assert say(f"POST {ECHO}?{signed(one, 'orderId=2')}", key, *lines)[0] == 200
        # an address with a doubled slash, and the header's name in other letters
        assert say(f"GET /{ECHO}/?{signed(one)}", key.replace("X-MBX-APIKEY", "x-mbx-apikey"))[0] == 200
        served = len(echo.served)
        # a body in pieces has no length
        chunk = f"{len(form):x}\r\n".encode() + form + b"\r\n0\r\n\r\n"
        status, _, body = say(f"POST {ECHO}", key, "Transfer-Encoding: chunked", body=chunk)
        assert (status, json.loads(body)["code"]) == (411, -1100)
        # the same write once more, and one that is too large
        assert say(f"POST {ECHO}", key, f"Content-Length: {len(form)}", body=form)[0] == 400
        assert say(f"POST {ECHO}", key, "Content-Length: 70000", body=b"a" * 70_000)[0] == 413
        for method in ("TRACE", "PUT", "HEAD", "OPTIONS"):
            status, headers, body = say(f"{method} {ECHO}?{signed(one)}", key)
            assert (status, headers["allow"]) == (405, "delete, get, post")
            assert (body == b"") == (method == "HEAD")
        assert len(echo.served) == served == 3


def test_every_answer_comes_within_the_clients_second(one: Wire, say: Say) -> None:
    """SAPI 6.6: the official client waits 1000 ms; also for a no, and while the counter is away"""
    key = f"X-MBX-APIKEY: {one.key.key}"
    with echoing():
        for query in (signed(one), "timestamp=1&signature=1", "&".join(f"a{n}=1" for n in range(3000))):
            began = time.monotonic()
            say(f"GET {ECHO}?{query}", key)
            assert time.monotonic() - began < 1
