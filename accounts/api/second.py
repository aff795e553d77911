"""What a firm keeps for two of its people, asked for by a program or a page of their own: it waits, 202. R-ADM-09"""

from collections.abc import Mapping
from typing import Any, Final

from rest_framework import serializers
from rest_framework.response import Response

from accounts import firms
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
    """Put the command before the firm's other people; the same key again is answered the same.

    Raises:
        Refused: as `firms.propose_once`.
    """
    proposal = firms.propose_once(
        command=command,
        arguments=arguments,
        title=title,
        facts=facts,
        actor=asker.actor,
        at=asker.at,
        key=key,
    )
    told = (
        f"{proposal} is sent to your colleagues: {proposal.title}. It is done when one of them releases it,"
        f" until {proposal.expires_at:%-d %B %Y, %H:%M} UTC."
    )
    return Response({"proposal": proposal.pk, "message": told}, status=202)
