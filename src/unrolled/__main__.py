"""``python -m unrolled`` is the command line."""

from unrolled.cli import main

main()
