"""
What earlier versions stored, and that this one reads it.

`store-0.1.jsonl` and the two `graph-*-0.1.jsonl` were written by nightshift 0.1 (commit 030b5c1): two
tenants, three agents and the channels of three platforms, over eight days of November 2026. Beat, a worker
and the web ran on three of them, and were cut off at noon of the 20th with work under way; between, the
functions that they call were called one by one. Of the events the last 320 are kept. Nobody in it is real,
and the tokens that the tests show are of use nowhere else.

These files are never written again by later code, or they would no longer say what was stored then. A version
that stores something in another shape adds files of its own, and the tests read both.
"""
