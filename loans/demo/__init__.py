"""A desk with a past: people, parameters, loans and 45 days of prices, for a first look and for the replay.

Everything here goes through the commands that a customer, a manager or a job would use, with `at` in the past.
`opening` sets up a desk for given coins, `cast` and `stories` are plain tables of who did what when (in the words of
`parts`), `dealings` is what the desk did besides lending, `care` how its clients help themselves and are looked after,
`house` its own affairs; all three ask `desk` who is who. `past` is the market of those weeks, `seeding` plays the
tables, `market` lets a visitor push the prices.
"""
