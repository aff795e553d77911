"""The exchange's dialect, as far as it is about people and accounts; and the door all of it comes in by.

Importing this package registers its endpoints (accounts/sapi/registry.py).
"""

from accounts.sapi import general, wallets

__all__ = ["general", "wallets"]
