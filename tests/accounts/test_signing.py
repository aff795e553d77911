"""The signature rule: what every client signs passes, and nothing that another hand touched (SAPI 6.1, 6.2; B-08)."""

import base64
import hashlib
import hmac
from typing import Any
from urllib.parse import quote, quote_plus, unquote, unquote_to_bytes, urlencode

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import assume, given
from hypothesis import strategies as st

from accounts import signing

SECRET = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
_ED = Ed25519PrivateKey.generate()
_SMALL = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505  to be refused
KINDS = ("hmac", "rsa", "ed25519")


def pem(key: Any) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    found: bytes = key.public_key().public_bytes(serialization.Encoding.PEM, form)
    return found.decode()


PUBLIC = {"hmac": "", "rsa": pem(_RSA), "ed25519": pem(_ED)}


def sign(payload: bytes, kind: str = "hmac", *, secret: str = SECRET) -> bytes:
    if kind == "rsa":
        return _RSA.sign(payload, padding.PKCS1v15(), hashes.SHA256())
    if kind == "ed25519":
        return _ED.sign(payload)
    return hmac.new(secret.encode(), payload, hashlib.sha256).digest()


def passes(arrived: bytes, signature: bytes, kind: str = "hmac") -> bool:
    return signing.is_signed(
        arrived, signature, kind=kind, secret=SECRET if kind == "hmac" else "", public_key=PUBLIC[kind]
    )


# --- What the clients send ------------------------------------------------------------------------------

WANTED = {"collateralCoin": "BTC,ETH", "toEmail": "a+b@x.com", "remark": "a b", "loanAmount": "1000.5"}
PAIRS = list(WANTED.items())
RAW = "&".join(f"{name}={value}" for name, value in PAIRS)
ARRIVES = {
    "official, npm, typed-binance: encoded, as signed": (urlencode(PAIRS), urlencode(PAIRS)),
    "official, spaces as %20": (urlencode(PAIRS, quote_via=quote), urlencode(PAIRS, quote_via=quote)),
    "connector: its @ put back": (
        urlencode(PAIRS).replace("%40", "@"),
        urlencode(PAIRS).replace("%40", "@"),
    ),
    "python-binance GET: raw, the space encoded on its way": (RAW, RAW.replace(" ", "%20")),
    "python-binance body: raw, sent as a form": (RAW, urlencode(PAIRS)),
    "ccxt, sub-account paths: not encoded at all": (RAW, RAW),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("client", ARRIVES)
def test_what_every_client_signs_passes(client: str, kind: str) -> None:
    """SAPI 6.1, 6.2: the raw bytes, or the text before it was encoded"""
    signed, sent = ARRIVES[client]
    assert passes(sent.encode(), sign(signed.encode(), kind), kind)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_stands_between_query_and_body(kind: str) -> None:
    """SAPI 6.2: the two one after the other"""
    query, _ = signing.split(b"a=1&signature=x&b=2")
    body, _ = signing.split(b"c=3")
    assert query + body == b"a=1&b=2c=3"
    assert passes(query + body, sign(b"a=1&b=2c=3", kind), kind)
    assert not passes(query + body, sign(b"a=1&b=2&c=3", kind), kind)


@pytest.mark.parametrize(
    ("raw", "rest", "found"),
    [
        (b"", b"", []),
        (b"a=1", b"a=1", []),
        (b"signature=x", b"", [b"x"]),
        (b"signature=x&a=1", b"a=1", [b"x"]),
        (b"a=1&signature=x&b=2", b"a=1&b=2", [b"x"]),
        (b"a=1&signature=x", b"a=1", [b"x"]),
        (b"a=1&signature=x&signature=y", b"a=1", [b"x", b"y"]),
        (b"signatures=x&my_signature=y&Signature=z", b"signatures=x&my_signature=y&Signature=z", []),
        (b"a=signature=x", b"a=signature=x", []),
        (b"a=1&signature", b"a=1", [b""]),
    ],
)
def test_the_signature_may_stand_anywhere(raw: bytes, rest: bytes, found: list[bytes]) -> None:
    """SAPI 6.2"""
    assert signing.split(raw) == (rest, found)


# --- How a signature is written -------------------------------------------------------------------------


def test_hex_may_be_of_either_case_and_base64_may_not() -> None:
    """SAPI 6.2, I-26: one signature, one set of bytes, however it is spelled"""
    digest = sign(b"a=1")
    for text in (digest.hex(), digest.hex().upper(), digest.hex().capitalize()):
        assert signing.signature_bytes(text.encode(), kind="hmac") == digest
    for kind in ("rsa", "ed25519"):
        made = sign(b"a=1", kind)
        text = base64.b64encode(made)
        assert signing.signature_bytes(text, kind=kind) == made
        assert signing.signature_bytes(quote_plus(text).encode(), kind=kind) == made
        assert signing.signature_bytes(quote(text, safe="").lower().encode(), kind=kind) != made


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"0", b"0" * 63, b"0" * 65, b"g" * 64, b" " + b"0" * 63, b"00 " * 21 + b"0", b"\xff" * 64),
        *(b"0x" + b"0" * 62, b"+" * 64, "٣".encode() * 32, b"0" * 62 + b"%0", b"null"),
    ],
)
def test_what_is_no_hmac_signature(text: bytes) -> None:
    """B-08"""
    assert signing.signature_bytes(text, kind="hmac") is None


@pytest.mark.parametrize("text", [b"====", b"a", b"ab=c", b"a b c d", b"abc\n", b"\xff\xfe", b"not base64!"])
def test_what_is_no_base64_signature(text: bytes) -> None:
    """B-08"""
    assert signing.signature_bytes(text, kind="ed25519") is None


def test_a_tokens_key_signs_nothing() -> None:
    """B-08: its secret is a bearer's; no signature of it exists"""
    for text in (sign(b"a=1").hex().encode(), base64.b64encode(sign(b"a=1"))):
        assert signing.signature_bytes(text, kind="token") is None


# --- Whoever lacks the key ------------------------------------------------------------------------------

texts = st.text(
    st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=12
)
params = st.dictionaries(texts, texts, min_size=1, max_size=5)


def said(payload: bytes) -> list[tuple[bytes, bytes]]:
    """The names and values a form parser reads."""
    pairs = [part.replace(b"+", b" ").partition(b"=") for part in payload.split(b"&") if part]
    return [(unquote_to_bytes(name), unquote_to_bytes(value)) for name, _, value in pairs]


@given(wanted=params, kind=st.sampled_from(KINDS))
def test_an_encoded_payload_passes_as_it_is(wanted: dict[str, str], kind: str) -> None:
    """SAPI 6.2: any names and values, as urlencode writes them"""
    payload = urlencode(wanted).encode()
    assert passes(payload, sign(payload, kind), kind)


@given(wanted=params, kind=st.sampled_from(KINDS), data=st.data())
def test_a_signature_of_something_else_never_passes(wanted: dict[str, str], kind: str, data: Any) -> None:
    """B-08: one byte of the payload put in, taken out or changed says something else, or is refused"""
    payload = urlencode(wanted).encode()
    at = data.draw(st.integers(0, len(payload)))
    end = data.draw(st.integers(at, min(at + 3, len(payload))))
    other = payload[:at] + data.draw(st.binary(max_size=4)) + payload[end:]
    assume(other != payload)
    if passes(other, sign(payload, kind), kind):  # a letter may be written as an escape, a space as a +
        assert [(name.replace(b"+", b" "), value.replace(b"+", b" ")) for name, value in said(other)] == [
            (name.replace(b"+", b" "), value.replace(b"+", b" ")) for name, value in said(payload)
        ]


@given(kind=st.sampled_from(KINDS), data=st.data())
def test_a_changed_signature_never_passes(kind: str, data: Any) -> None:
    """B-08: any other bytes, of any length"""
    payload = b"orderId=1&amount=10"
    made = sign(payload, kind)
    at = data.draw(st.integers(0, len(made)))
    end = data.draw(st.integers(at, len(made)))
    other = made[:at] + data.draw(st.binary(max_size=8)) + made[end:]
    assert passes(payload, other, kind) == (other == made)


@given(secret=st.text(st.characters(codec="ascii"), min_size=1, max_size=64))
def test_another_secret_signs_nothing(secret: str) -> None:
    """B-08"""
    assume(secret != SECRET)
    assert not passes(b"a=1", sign(b"a=1", secret=secret))


@pytest.mark.parametrize(
    ("signed", "forged"),
    [
        ("orderId=1&amount=10", "orderId=1%26amount=10"),  # two parameters become one
        ("label=x&toEmail=a@x.com", "label=x%26toEmail=a@x.com"),
        ("label=x&toEmail=a", "label=x%26toEmail%3Da"),
        ("amount=10", "amount%3D10"),
        ("label=a%2Cb", "label=a%252Cb"),  # one more layer of escapes
        ("label=%41", "label=%2541"),
        ("orderId=1&amount=10", "amount=10&orderId=1"),  # another order
        ("orderId=1&amount=10", "orderId=1&amount=10&"),
        ("orderId=1&amount=10", "&orderId=1&amount=10"),
        ("orderId=1&amount=10", "orderId=1&amount=10&limit=5"),
        ("orderId=1&amount=10", "orderId=1&amount=100"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_who_carries_a_request_cannot_make_another_of_it(signed: str, forged: str, kind: str) -> None:
    """B-08: the text before it was encoded counts only where it says the same"""
    assert passes(signed.encode(), sign(signed.encode(), kind), kind)
    assert not passes(forged.encode(), sign(signed.encode(), kind), kind)


@given(wanted=params)
def test_every_reading_says_what_arrived(wanted: dict[str, str]) -> None:
    """B-08: of what was never encoded the same names and values come out"""
    payload = urlencode(wanted).encode()
    for reading in signing.readings(payload)[1:]:
        read = [pair.partition(b"=")[::2] for pair in reading.split(b"&")]
        encoded = [pair.partition(b"=")[::2] for pair in payload.split(b"&")]
        plain = [tuple(unquote_to_bytes(part) for part in pair) for pair in encoded]
        spaced = [tuple(unquote_to_bytes(part.replace(b"+", b" ")) for part in pair) for pair in encoded]
        assert read in (plain, spaced)


def test_readings_are_few() -> None:
    """No signature is checked more often than three times."""
    assert signing.readings(b"a=1&b=2") == [b"a=1&b=2"]
    assert signing.readings(b"a=%2C&b=+") == [b"a=%2C&b=+", b"a=,&b=+", b"a=,&b= "]


# --- Public halves --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
def test_a_public_key_is_kept_in_one_form(kind: str) -> None:
    """TRUST 7: whatever surrounds it"""
    assert signing.public_key_of(f"\n  {PUBLIC[kind]}  \n", kind=kind) == PUBLIC[kind]
    assert signing.public_key_of(PUBLIC[kind].replace("\n", "\r\n"), kind=kind) == PUBLIC[kind]


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("", "rsa", "no public key as PEM"),
        ("hello", "ed25519", "no public key as PEM"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "rsa", "no public key as PEM"),
        ("\ud800", "rsa", "no public key as PEM"),
        (PUBLIC["rsa"], "ed25519", "not an ED25519 one"),
        (PUBLIC["ed25519"], "rsa", "not an RSA one"),
        (pem(ec.generate_private_key(ec.SECP256R1())), "rsa", "not an RSA one"),
        (pem(_SMALL), "rsa", "2048 to 4096 bits, not 1024"),
        ("-----BEGIN RSA PRIVATE KEY-----", "rsa", "a private key"),
    ],
)
def test_what_is_no_public_key_here(text: str, kind: str, words: str) -> None:
    """TRUST 7"""
    with pytest.raises(signing.BadPublicKey, match=words):
        signing.public_key_of(text, kind=kind)


@pytest.mark.parametrize("sign_bit", [0x00, 0x80])
@pytest.mark.parametrize("point", sorted(signing._SMALL))
def test_a_point_that_anybody_signs_for_is_no_public_key(point: bytes, sign_bit: int) -> None:
    """TRUST 7: of such a point (1, 0) is the signature of every second, fourth or eighth text, or of each."""
    found = Ed25519PublicKey.from_public_bytes(point[:-1] + bytes([point[-1] | sign_bit]))
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    text = found.public_bytes(serialization.Encoding.PEM, form).decode()
    with pytest.raises(signing.BadPublicKey, match="no private half"):
        signing.public_key_of(text, kind="ed25519")


def test_unquoting_is_what_the_clients_do() -> None:
    """The fallback is Python's own unquote, which never fails."""
    assert unquote_to_bytes("a=%zz%2") == b"a=%zz%2" == unquote("a=%zz%2").encode()
