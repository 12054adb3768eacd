"""The acceptance of the compiled engine: what it computes is what the naive loop computes.

    scripts/equality [--minutes N] [--family NAME ...] [--case TEXT] [--seed N] [--small] [--list]

A family makes cases, each with a name; a case draws what it needs from the seed and its name, so that
``--seed`` and ``--case`` bring a failure back. Every piece of scratch memory is full of NaN throughout.
"""
