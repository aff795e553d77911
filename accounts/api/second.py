"""What a firm keeps for two of its people, asked for by a program or a page of their own: it waits, 202. R-ADM-09"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

from rest_framework import serializers
from rest_framework.response import Response

from accounts import approvals
from accounts.api.edge import Asker


class Waiting(serializers.Serializer[Any]):
    """The number under which a colleague finds it, and until when."""

    proposal = serializers.IntegerField()
    message = serializers.CharField()


WAITS: Final = {202: Waiting}
"""For the responses of an operation whose command a firm may keep for two."""


def put_up(
    asker: Asker,
    *,
    command: str,
    arguments: Mapping[str, Any],
    title: str,
    facts: Mapping[str, str],
    key: str,
) -> Response:
    """Put the command before the firm's other people. `facts` do not change with time, so that a key can be repeated.

    Raises:
        Refused: as `approvals.propose`.
    """
    proposal = approvals.propose(
        command=command,
        arguments=arguments,
        title=title,
        preview=dict(facts),
        reason="",
        actor=asker.actor,
        at=asker.at,
        key=sha256(f"{key}:second".encode()).hexdigest() if key else "",  # no longer than a key may be
    )
    told = (
        f"{proposal} is sent to your colleagues: {title}. It is done when one of them releases it,"
        f" until {proposal.expires_at:%-d %B %Y, %H:%M} UTC."
    )
    return Response({"proposal": proposal.pk, "message": told}, status=202)
