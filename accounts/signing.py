"""Whether a request of the exchange's dialect was signed by who has the key. Pure; bytes in, yes or no out.

What is signed is the raw query and the raw body, without the `signature` pair, one after the other with nothing in
between. Some clients sign the text before it is percent-encoded, so that reading is tried as well, where it says the
same; what is used up is the signature's bytes, whichever reading matched.
"""

import base64
import binascii
import hashlib
import hmac
import re
from functools import lru_cache
from typing import Final
from urllib.parse import unquote_to_bytes

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from accounts.words import tell

_NAME: Final = b"signature"
SMALLEST_RSA: Final = 2048  # bits
LARGEST_RSA: Final = 4096
HMAC, RSA, ED25519 = "hmac", "rsa", "ed25519"
_HEX: Final = re.compile(b"[0-9A-Fa-f]{64}")
_SMALL: Final = frozenset(
    bytes.fromhex(text)
    for text in (
        "00" * 32,
        "01" + "00" * 31,
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ec" + "ff" * 30 + "7f",
        "ed" + "ff" * 30 + "7f",
        "ee" + "ff" * 30 + "7f",
    )
)
"""The points of Ed25519 of which anybody makes signatures, without the bit of their sign; no private key has them."""
_ESCAPE: Final = re.compile(b"%[0-9A-Fa-f]{2}")


class BadPublicKey(ValueError):
    """Not the PEM text of a public key that can be used here; the message says why."""


def split(raw: bytes) -> tuple[bytes, list[bytes]]:
    """A raw query or body without its `signature` pairs, and the values of those, still encoded."""
    kept, found = [], []
    for pair in raw.split(b"&"):
        name, _, value = pair.partition(b"=")
        if name == _NAME:
            found.append(value)
        else:
            kept.append(pair)
    return b"&".join(kept), found


def signature_bytes(encoded: bytes, *, kind: str) -> bytes | None:
    """The bytes of a signature as it arrived; None when it is none of this kind. Hex may be of either case."""
    text = unquote_to_bytes(encoded)
    if kind == HMAC:
        return bytes.fromhex(text.decode("ascii")) if _HEX.fullmatch(text) else None
    try:
        return base64.b64decode(text, validate=True) if kind in (RSA, ED25519) else None
    except binascii.Error:
        return None


def is_signed(payload: bytes, signature: bytes, *, kind: str, secret: str = "", public_key: str = "") -> bool:
    """Whether `signature` is of the payload as it arrived, or of its text before it was percent-encoded."""
    return any(_matches(reading, signature, kind, secret, public_key) for reading in readings(payload))


def readings(payload: bytes) -> list[bytes]:
    """What the client may have signed, its own bytes first.

    The text before it was encoded counts only where it splits into the very same names and values: otherwise who
    carries a request could turn `a=1&b=2` into `a=1%26b=2`, or add a layer of escapes, under the client's signature.
    """
    found = [payload]
    for encoded in (payload, payload.replace(b"+", b" ")):
        text = unquote_to_bytes(encoded)
        if text not in found and _says_the_same(encoded, text):
            found.append(text)
    return found


def public_key_of(pem: str, *, kind: str) -> str:
    """The key as PEM text in one form, checked.

    Raises:
        BadPublicKey: no PEM, a private key, another algorithm, RSA of fewer than 2048 or more than 4096 bits, or a
            point of Ed25519 that is nobody's.
    """
    if "PRIVATE" in pem:
        raise BadPublicKey(tell("That is a private key. Keep it to yourself, and paste the public one."))
    try:
        key = serialization.load_pem_public_key(pem.strip().encode())
    except Exception:  # the library raises several kinds, all of which mean the same here
        raise BadPublicKey(tell("That is no public key as PEM text (-----BEGIN PUBLIC KEY-----).")) from None
    if kind == RSA and isinstance(key, RSAPublicKey):
        if not SMALLEST_RSA <= key.key_size <= LARGEST_RSA:
            raise BadPublicKey(f"An RSA key has {SMALLEST_RSA} to {LARGEST_RSA} bits, not {key.key_size}.")
    elif not (kind == ED25519 and isinstance(key, Ed25519PublicKey)):
        raise BadPublicKey(f"That is a public key, but not an {kind.upper()} one.")
    elif _is_nobodys(key.public_bytes_raw()):
        raise BadPublicKey(
            tell("That public key has no private half: anybody could sign for it. Make a new pair.")
        )
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.PEM, form).decode("ascii")


def _is_nobodys(point: bytes) -> bool:
    return point[:-1] + bytes([point[-1] & 0x7F]) in _SMALL


def _says_the_same(encoded: bytes, text: bytes) -> bool:
    if _ESCAPE.search(text):
        return False
    pairs = [pair.partition(b"=") for pair in encoded.split(b"&")]
    decoded = [tuple(unquote_to_bytes(part) for part in pair) for pair in pairs]
    return decoded == [pair.partition(b"=") for pair in text.split(b"&")]


def _matches(payload: bytes, signature: bytes, kind: str, secret: str, public_key: str) -> bool:
    if kind == HMAC:
        wanted = hmac.new(secret.encode(), payload, hashlib.sha256).digest()
        return hmac.compare_digest(wanted, signature)
    key = _loaded(public_key)
    try:
        if isinstance(key, RSAPublicKey):
            key.verify(signature, payload, padding.PKCS1v15(), hashes.SHA256())
        elif isinstance(key, Ed25519PublicKey):
            key.verify(signature, payload)
        else:
            return False
    except InvalidSignature:
        return False
    return True


@lru_cache(maxsize=1024)
def _loaded(public_key: str) -> object:
    return serialization.load_pem_public_key(public_key.encode())
