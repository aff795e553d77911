"""The dialect's loan endpoints. Importing this package registers them (accounts/sapi/registry.py)."""

from loans.sapi import dealing, market, orders, rates, stable

__all__ = ["dealing", "market", "orders", "rates", "stable"]
