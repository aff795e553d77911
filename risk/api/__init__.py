"""The groups, movements and prices of our own API (docs/api.md)."""
