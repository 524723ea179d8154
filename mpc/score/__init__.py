"""Private scoring: an encrypted query against a holder's catalogue (README.md).

Nothing is imported on behalf of the caller: `mpc.score.querier` holds secret keys, the other modules do not.
"""
