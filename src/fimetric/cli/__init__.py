"""The command line: reading arguments, one call each.

options    what several commands share
gathering  options that go together, as one object
words      what an error calls an option: as it is typed
models     one model: demo, train, extract, fit, score
inspect    one model, looked at before it is used
studies    several models, sets or methods: evaluate, analyse, benchmark, retrain
demo       the main job on data that ship with the dependencies: train, fit, calibrate, score, show
"""

import io
import logging
import signal
import sys
from types import FrameType
from typing import Any, TextIO

import typer
from rich.console import Console
from rich.logging import RichHandler
from typer.core import TyperGroup

from fimetric.cli import models, studies
from fimetric.cli.inspect import inspect
from fimetric.cli.words import as_typed

STOPPED = "stopped; what was done is kept, the same call goes on from there"


class Terminated(KeyboardInterrupt):
    """What SIGTERM raises, so that it stops as cleanly as Ctrl-C."""


class Commands(TyperGroup):
    """Creates the commands; an error in one ends in one line and a status of 1.

    Ctrl-C ends in 130, SIGTERM in 143.
    """

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for.

        Raises:
            typer.Exit: as it is, and in place of an error of ours or a stop.
            typer.Abort: as it is.
            BrokenPipeError: as it is, where whoever read our output has left.
        """
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort):  # RuntimeErrors by class, but none of ours
            raise
        except Terminated:
            _stop(STOPPED, 143)
        except KeyboardInterrupt:
            _stop(STOPPED, 130)
        except BrokenPipeError:
            raise  # whoever read our output has left; typer ends in silence
        except (ValueError, TypeError, RuntimeError, OSError, ImportError) as error:
            said = as_typed(str(error), self._options(ctx))
            _stop(f"error: {' '.join(said.split()) or type(error).__name__}", 1)

    def _options(self, ctx: Any) -> set[str]:
        """Return the names of what the command that was asked for takes."""
        command = self.commands.get(ctx.invoked_subcommand)
        return set() if command is None else {str(each.name) for each in command.params}


def _stop(message: str, status: int) -> None:
    typer.echo(message, err=True)
    raise typer.Exit(status)


app = typer.Typer(
    cls=Commands,
    help="Out-of-distribution detection with deep generative models, by gradient norms. A MODEL is "
    "a folder or file, a name on the Hugging Face hub, or FILE.py:FUNCTION: the one way in which "
    "code of your own is run.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

for command in (
    models.demo,
    models.train,
    inspect,
    models.extract,
    models.fit,
    models.score,
    studies.evaluate,
    studies.analyse,
    studies.benchmark,
    studies.retrain,
):
    app.command()(command)


def take_any_name(stream: TextIO) -> None:
    """Have a stream escape what its encoding lacks: no name of a file ends a command."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")


def terminate(number: int, frame: FrameType | None) -> None:
    """Handle SIGTERM.

    Raises:
        Terminated: always.
    """
    raise Terminated


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        take_any_name(stream)
    signal.signal(signal.SIGTERM, terminate)
    logger = logging.getLogger("fimetric")
    logger.setLevel(logging.INFO)
    if not logger.handlers:
        console = Console(stderr=True)
        handler = RichHandler(console=console, show_time=False, show_path=False)
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)
    app()
