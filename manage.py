#!/usr/bin/env python
"""Django's command line. Commands that need nothing running bring the embedded services with them."""

import os
import sys
from contextlib import nullcontext

# These start (or share) the embedded services themselves when nobody gave a database.
BRING_THEIR_OWN_SERVICES = {"replay", "sensitivity", "check_ledger"}


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    from config import embedded

    brings = set(sys.argv[1:2]) & BRING_THEIR_OWN_SERVICES and embedded.database_is_ours()
    try:
        with embedded.services() if brings else nullcontext():
            execute_from_command_line(sys.argv)
    except ImproperlyConfigured as problem:  # one sentence says what to set; a traceback would hide it
        sys.exit(f"manage.py: {problem}")


if __name__ == "__main__":
    main()
