"""Our own API, /api/v1: what the exchange's dialect lacks, over the same commands as the pages (docs/api.md)."""
