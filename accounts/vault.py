"""Secrets at rest: what the desk must be able to read again is sealed with a key that is not in the database.

The sealing keys come from `SECRET_SEALS` (the newest first), or are derived from the application's own secret keys.
A secret sealed with an older one opens as long as that one is still listed.
"""

import base64
import hashlib
from functools import cache

from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings


def seal(text: str) -> str:
    """The text, readable only by who has a sealing key. Never the same twice."""
    return _seals().encrypt(text.encode()).decode("ascii")


def unseal(sealed: str) -> str:
    """What `seal` was given.

    Raises:
        cryptography.fernet.InvalidToken: no key listed sealed this, or it was tampered with.
    """
    return _seals().decrypt(sealed.encode("ascii")).decode()


@cache
def _seals() -> MultiFernet:
    sources = settings.SECRET_SEALS or [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return MultiFernet([Fernet(_derived(source)) for source in sources])


def _derived(source: str) -> bytes:
    digest = hashlib.blake2b(source.encode(), digest_size=32, person=b"lombard-seal").digest()
    return base64.urlsafe_b64encode(digest)
