"""Messages of one page to the next are said when they are put down: what the session keeps is only text."""

from django.contrib.messages.storage.fallback import FallbackStorage

from accounts.tongue import say


class Spoken(FallbackStorage):
    def add(self, level: int, message: str, extra_tags: str | None = "") -> None:
        super().add(level, say(message), extra_tags)
