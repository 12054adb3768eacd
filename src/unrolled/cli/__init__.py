"""The command line: parse, call, print. No logic, and nothing heavy is imported to show a help page."""

from unrolled.cli.main import main

__all__ = ["main"]
