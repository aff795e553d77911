"""Our own API for loans: requests and their negotiation, loans, rates, limits, over the same commands as the pages."""
