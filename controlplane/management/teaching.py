"""Commands whose `--help` teaches: the module's text is shown as it was written, examples and all."""

from argparse import RawDescriptionHelpFormatter
from typing import Any

from django.core.management.base import BaseCommand, CommandParser, DjangoHelpFormatter


class _AsWritten(DjangoHelpFormatter, RawDescriptionHelpFormatter):
    """Django's order of options, our line breaks."""


class TeachingCommand(BaseCommand):
    """A command with `help = __doc__`."""

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        kwargs.setdefault("formatter_class", _AsWritten)
        return super().create_parser(prog_name, subcommand, **kwargs)
