"""Load the reference catalogue of coins, or a replacement of it."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from accounts.catalogue import COINS_FILE, read_coins
from accounts.catalogue.loading import load
from accounts.commands import Actor
from accounts.errors import Refused


class Command(BaseCommand):
    help = "Add and update assets from a CSV file (symbol,name,places,kind,loanable,collateral)."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--file", type=Path, default=COINS_FILE, help="a catalogue instead of the built-in one"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            coins = read_coins(options["file"])
            loaded = load(coins=coins, actor=Actor.job("load_assets"), at=timezone.now())
        except Refused as refusal:
            raise CommandError(str(refusal)) from refusal
        self.stdout.write(
            f"{len(coins)} assets: {loaded.created} added, {loaded.updated} changed, "
            f"{loaded.unchanged} as they were."
        )
