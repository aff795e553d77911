"""The exchange's dialect about coins that move and what they are worth: transfers, withdrawals, balances, prices.

Importing this package registers its endpoints (accounts/sapi/registry.py).
"""

from risk.sapi import balances, market, sub_accounts, transfer_history, transfers, withdrawals

__all__ = ["balances", "market", "sub_accounts", "transfer_history", "transfers", "withdrawals"]
