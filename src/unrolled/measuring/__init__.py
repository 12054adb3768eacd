"""How fast things are on this machine: works, rounds in turns, and who else had the processor.

Nothing is imported here, so that a process without PyTorch can use ``noise`` and ``rounds`` too.
"""
