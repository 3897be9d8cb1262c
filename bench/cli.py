"""The command line: options to one call, print, exit code. What takes time to import waits.

Exit codes: 0 done; 2 bad input, told in one line on standard error and nothing else; 3 any other
failure; 130 interrupted.
"""

from __future__ import annotations

import codecs
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import click

from bench.errors import InputError

DEBUG = "BATCHBENCH_DEBUG"
BAD_INPUT, FAILURE, INTERRUPTED = 2, 3, 130
# What a stream cannot write, in its place: a terminal may know ASCII alone
PLAIN = {"×": "x", "µ": "u", "−": "-", "–": "-", "—": "-", "…": "...", "≤": "<=", "≥": ">="}


def listed(convert: Callable[[str], Any]) -> Callable[..., list[Any] | None]:
    """Make a callback that turns "1,8,full" into a list, entry by entry."""

    def callback(_: click.Context, option: click.Parameter, text: str | None) -> list[Any] | None:
        if text is None:
            return None
        try:
            return [convert(entry.strip()) for entry in text.split(",")]
        except ValueError:
            raise InputError(
                f"{option.opts[0]}: write values with commas between them, as in "
                f"{option.opts[0]} {option.metavar}, got {text!r}"
            ) from None

    return callback


def _batch_size(text: str) -> int | str:
    return text if text == "full" else int(text)


def _hidden(context: click.Context, option: click.Parameter, text: str | None) -> list[int] | None:
    return [] if text == "none" else listed(int)(context, option, text)


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="batchbench")
@click.pass_context
def cli(context: click.Context) -> None:
    """Per sample, mini-batch or full batch? Measured answers.

    Results go to results/: open results/index.html.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@cli.command()
@click.argument("name")
@click.option("--seeds", type=int, metavar="N", help="Seeds 0 to N-1; every third tunes. [48]")
@click.option(
    "--batch-sizes",
    metavar="1,8,32,full",
    callback=listed(_batch_size),
    help="Used as they are. [1, 2, 4, ... up to half the samples, and full]",
)
@click.option(
    "--learning-rates",
    metavar="0.01,0.1,1",
    callback=listed(float),
    help="Used as they are. [found for each batch size]",
)
@click.option("--rule", metavar="RULE", help="sgd, momentum, nesterov or adam. [sgd]")
@click.option("--hidden", metavar="32,16", callback=_hidden, help="Hidden layers' widths, or none.")
@click.option("--activation", metavar="NAME", help="relu, tanh or leaky_relu. [relu]")
@click.option("--workers", type=int, metavar="N", help="Threads; results do not depend on it.")
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Folder. [results]")
def study(name: str, **options: Any) -> None:
    """Measure which batch size and learning rate to use for NAME.

    NAME is notes (XOR), digits, iris, wine, breast_cancer, diabetes, or all.
    """
    from bench.problems import PROBLEMS
    from bench.study import study as run_study

    given = {option: value for option, value in options.items() if value is not None}
    for one in PROBLEMS if name == "all" else [name]:
        done = run_study(one, **given)
        click.echo(f"{done.terminal_summary()}\n{done.report}")


@cli.command()
@click.option("--params", metavar="W1,b1,W2,b2", help="Nine numbers: W1 row by row, b1, W2, b2.")
@click.option("--x", metavar="X1,X2", help="The sample. [1,0]")
@click.option("--y", metavar="0|1", help="Its label. [XOR's]")
@click.option("--learning-rate", type=float, default=0.5, show_default=True, metavar="ETA")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the parameters.")
@click.option("--loss", default="bce", show_default=True, metavar="bce|half_mse")
@click.option(
    "--format", "form", default="text", show_default=True, metavar="text|markdown|latex|json"
)
def walk(params: str | None, x: str | None, y: str | None, form: str, **options: Any) -> None:
    """Go through one update of the notes' network, number by number."""
    from bench import walk as step

    done = step.walk(
        params=None if params is None else step.parse_params(params),
        x=None if x is None else step.parse_x(x),
        y=None if y is None else step.parse_y(y),
        **options,
    )
    click.echo(step.render(done, form), nl=False)


@cli.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("results"), metavar="DIR")
def prune(out: Path) -> None:
    """Delete the stored results that no study in the folder uses."""
    from bench.study import prune as prune_blocks

    click.echo(f"{prune_blocks(out)} files deleted below {out}")


def plainly(error: UnicodeError) -> tuple[str, int]:
    """Stand in for characters that a stream cannot write."""
    assert isinstance(error, UnicodeEncodeError)
    lacking = error.object[error.start : error.end]
    return "".join(PLAIN.get(character, "?") for character in lacking), error.end


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    try:
        cli.main(arguments, prog_name="batchbench", standalone_mode=False)
    except (InputError, click.ClickException) as error:
        text = error.format_message() if isinstance(error, click.ClickException) else str(error)
        print(f"batchbench: {' '.join(text.split())}", file=sys.stderr)
        return BAD_INPUT
    except (KeyboardInterrupt, click.Abort):
        print("batchbench: interrupted; the same command goes on from here", file=sys.stderr)
        return INTERRUPTED
    except SystemExit:  # click's way where the reader of a pipe has gone: `batchbench walk | head`
        return 0
    except Exception as error:
        if os.environ.get(DEBUG):
            traceback.print_exc()
        what = " ".join(str(error).split())
        print(
            f"batchbench: {type(error).__name__}: {what} "
            f"(the same command with {DEBUG}=1 shows where)",
            file=sys.stderr,
        )
        return FAILURE
    return 0


def main() -> None:
    """Run the command, and exit with its code; streams that know ASCII alone do not fail."""
    codecs.register_error("plainly", plainly)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="plainly")
    sys.exit(run())
