"""The command line: options to one call, print, exit code. What takes time to import waits.

Exit codes: 0 done; 1 something was found: a regression (`compare`, `history --check`), an interval
that is too short (`calibrate`); 2 bad input, told in one line on standard error and nothing else;
3 any other failure; 130 interrupted.
"""

from __future__ import annotations

import codecs
import errno
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench import process_end
from bench.errors import InputError, StoppedError
from bench.plain import one_line, printable, shortened
from bench.process_end import INTERRUPTED

if TYPE_CHECKING:
    from bench.speed.compare.comparison import Comparison
    from bench.study import Study

DEBUG = "BATCHBENCH_DEBUG"
FOUND, BAD_INPUT, FAILURE = 1, 2, 3
# A disk that is full, or may not be written to
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)
LONGEST = 700  # characters of a message, whatever was given
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


class Place(click.Path):
    """A path that a system may know: not an empty one, as of a variable that is not set."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path."""
        if not str(value) or "\0" in str(value):
            self.fail("a path is not empty, and holds no NUL character", param, ctx)
        return super().convert(value, param, ctx)


PLACE = Place(path_type=Path)


def _batch_size(text: str) -> int | str:
    return text if text == "full" else int(text)


def _hidden(context: click.Context, option: click.Parameter, text: str | None) -> list[int] | None:
    return [] if text == "none" else listed(int)(context, option, text)


class Interrupted(Exception):  # noqa: N818
    """KeyboardInterrupt, which Click would print an empty line for."""


class Commands(click.Group):
    """The commands; an interruption of one leaves them without a word."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Interrupted from None


@click.group(
    cls=Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="batchbench")
@click.pass_context
def cli(context: click.Context) -> None:
    """Per sample, mini-batch or full batch? Measured answers.

    Results go to results/: open results/index.html.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def table_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say how an own table is read."""
    columns: dict[str, Any] = {"metavar": "A,B", "callback": listed(str)}
    for option in (
        click.option("--name", metavar="NAME", help="Of the study. [the file's]"),
        click.option("--decimal", metavar="CHAR", help="Decimal mark, . or , [found out]"),
        click.option("--sep", metavar="CHAR", help="Separator of columns. [found out]"),
        click.option("--encoding", metavar="NAME", help="Such as latin-1. [utf-8]"),
        click.option("--na-values", help="What marks a gap. [NA, nan, null, ...]", **columns),
        click.option("--test-size", type=float, metavar="SHARE", help="Held out. [0.2]"),
        click.option("--task", metavar="TASK", help="classification or regression. [by target]"),
        click.option(
            "--missing", metavar="HOW", help="median, most_frequent, drop or error. [median]"
        ),
        click.option("--drop", help="Columns to leave out.", **columns),
        click.option("--features", help="Columns to learn from. [all others]", **columns),
        click.option("--target", metavar="COLUMN", help="Column to predict: needed for a table."),
    ):
        command = option(command)
    return command


@cli.command()
@click.argument("subject", metavar="NAME|FILE")
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
@click.option("--compare-rules", is_flag=True, default=None, help="Train by the other rules too.")
@click.option("--hidden", metavar="32,16", callback=_hidden, help="Hidden layers' widths, or none.")
@click.option("--activation", metavar="NAME", help="relu, tanh or leaky_relu. [relu]")
@click.option("--target-loss", type=float, metavar="L", help="Training loss to reach. [found]")
@click.option("--budget", metavar="60s", help="Time it may take. [a table: 60s, else no limit]")
@click.option("--rounds", type=int, metavar="R", help="Number of rounds in place of a budget.")
@click.option(
    "--step-cost",
    metavar="C0,C1",
    callback=listed(float),
    help="An update of your own program takes C0 + C1 x batch size seconds.",
)
@click.option("--save-model", type=PLACE, metavar="FILE.npz")
@table_options
@click.option("--dry-run", is_flag=True, help="Tell what was understood and planned, and stop.")
@click.option("--workers", type=int, metavar="N", help="Threads; results do not depend on it.")
@click.option("--scheduler", metavar="ADDRESS", help="A Dask cluster trains, or local: processes.")
@click.option("--out", type=PLACE, metavar="DIR", help="Folder. [results]")
def study(subject: str, dry_run: bool, **options: Any) -> None:
    """Measure which batch size and learning rate to use for NAME or FILE.

    NAME is notes (XOR, quick), xor (XOR, all of it), digits, iris, wine, breast_cancer, diabetes,
    all, or mistakes (in averaging a batch); FILE a table (CSV, perhaps gzipped, or Parquet), which
    needs --target.
    """
    from bench.study import ALL
    from bench.study import dry_run as look
    from bench.study import study as run_study

    given = {option: value for option, value in options.items() if value is not None}
    if subject == ALL:
        study_of_all(dry_run, given)
    elif dry_run:
        say(look(subject, **given))
    else:
        tell(run_study(subject, **given))


def study_of_all(dry_run: bool, given: dict[str, Any]) -> None:
    """Study all problems and compare them, or tell what is planned."""
    from bench.all_problems import PROBLEMS, study_all
    from bench.study import dry_run as look

    if dry_run:
        for one in PROBLEMS:
            say(look(one, **given | {"compare_rules": True}))
        return
    done = study_all(finished=tell, **given)
    tell(done)
    if failed := done.record["failed"]:
        reasons = "; ".join(f"{name} ({why})" for name, why in failed.items())
        raise RuntimeError(f"no results of {reasons}")


def tell(done: Study) -> None:
    """Print the answer of a finished study, and where its page is."""
    say(f"{done.terminal_summary()}\n{done.report}")


def say(text: object) -> None:
    """Print words and paths, of which nothing moves a terminal's cursor."""
    click.echo(printable(str(text), kept="\n"))


@cli.command()
@click.argument("model", type=PLACE, metavar="MODEL.npz")
@click.argument("file", type=PLACE, metavar="FILE")
@click.option("--out", type=PLACE, metavar="FILE.csv", help="[the terminal]")
def predict(model: Path, file: Path, out: Path | None) -> None:
    """Predict a table's target with a network that `study --save-model` wrote."""
    from bench.model import load_model, write_predictions

    write_predictions(load_model(model), file, out)


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
@click.option("--out", type=PLACE, default=Path("results"), metavar="DIR")
def prune(out: Path) -> None:
    """Delete the stored results that no study in the folder uses."""
    from bench.study import prune as prune_blocks

    say(f"{prune_blocks(out)} files deleted below {out}")


@cli.command()
@click.option("--simulations", type=int, default=2000, show_default=True, metavar="N")
@click.option("--only", default="", metavar="TEXT", help="Intervals whose name holds it. [all]")
@click.option("--workers", type=int, metavar="N", help="Processes; results do not depend on it.")
@click.option("--out", type=PLACE, default=Path("results"), metavar="DIR")
def calibrate(out: Path, **options: Any) -> int:
    """Check the intervals of all studies on simulated data with known truth.

    Tables of how often they hold it, and of how often equal arms are told apart, go to
    DIR/calibration. The exit code is 1 where an interval is significantly too short.
    """
    from rich.console import Console

    from bench import calibration
    from bench.experiments.progress import reporter

    found = calibration.calibrate(**options, progress=reporter())
    calibration.show(found, Console())
    for path in calibration.write(found, out / "calibration"):
        say(path)
    return 0 if found.passed else FOUND


@cli.command()
@click.option("--case", metavar="NAME", help="digits (64-32-10), wide (784-128-10) or both. [both]")
@click.option(
    "--batch-sizes",
    metavar="1,8,full",
    callback=listed(_batch_size),
    help="[1, 2, 4, ... 128, full]",
)
@click.option("--rounds", type=int, metavar="R", help="Of each at each batch size. [6]")
@click.option("--out", type=PLACE, default=Path("results"), metavar="DIR")
def roofline(out: Path, **options: Any) -> None:
    """Measure this core's limits, and draw training below them, with look-ahead and without.

    Page and figures, beside NumPy and JAX where they are installed, go to DIR/roofline.
    """
    from bench.report.roofline import terminal_summary
    from bench.roofline import roofline as run_roofline

    measured, page = run_roofline(out, **options)
    say(f"{terminal_summary(measured)}\n{page}")


@cli.command()
@click.option(
    "--case", "cases", multiple=True, metavar="NAME", help="digits, wide, blocks or xor. [all]"
)
@click.option("--batch-sizes", metavar="1,8,full", callback=listed(_batch_size), help="[by case]")
@click.option("--rounds", type=int, metavar="R", help="Of each at each batch size. [9]")
@click.option("--programs", metavar="A,B", callback=listed(str), help="[all that are installed]")
@click.option(
    "--peer",
    "own",
    multiple=True,
    type=PLACE,
    metavar="FILE.py",
    help="A program of your own: it has prepare(work) -> run.",
)
@click.option("--out", type=PLACE, default=Path("results"), metavar="DIR")
def peers(out: Path, **options: Any) -> None:
    """Time the same training in other programs, side by side: NumPy, scikit-learn, JAX, PyTorch.

    Those that are installed, checked to end at the same weights. Page and tables: DIR/peers.
    """
    from bench.peers import peers as run_peers
    from bench.report.peers import terminal_summary

    measured, page = run_peers(out, **options)
    say(f"{terminal_summary(measured)}\n{page}")


@cli.command()
@click.argument("base", metavar="BASE")
@click.argument("head", metavar="[HEAD]", required=False)
@click.option("--budget", metavar="2min", help="Time that timing may take. [120s]")
@click.option("--only", metavar="PATTERN", help="Benchmarks of such names, as in '*B=1'. [all]")
@click.option("--tolerance", type=float, metavar="SHARE", help="Slowdown not minded. [0.01]")
@click.option(
    "--accept-different",
    is_flag=True,
    default=None,
    help="Other results than BASE's are meant: networks must learn as well.",
)
@click.option("--out", type=PLACE, default=Path("results"), metavar="DIR")
def compare(base: str, head: str | None, out: Path, **options: Any) -> int:
    """Tell whether HEAD's kernels are slower than BASE's, or learn worse.

    BASE and HEAD are git revisions, or . for the working tree, which HEAD is unless given. Tables
    and figure go to DIR/compare/BASE..HEAD. The exit code is 1 where something got worse.
    """
    from bench.compare import compare as run_compare
    from bench.report.compare import terminal_summary

    def tell_it(done: Comparison) -> None:
        say(terminal_summary(done))

    done, summary = run_compare(base, head, out=out, finished=tell_it, **options)
    say(summary)
    return FOUND if done.regressions else 0


@cli.command()
@click.option("--check", is_flag=True, help="Exit with 1 where the newest run is worse.")
@click.option("--out", type=PLACE, default=Path("results"), metavar="DIR")
def history(check: bool, out: Path) -> int:
    """Show speed and quality over commits, from what `pytest --benchmark` stored.

    Each benchmark and measure of quality with its intervals and steps, a machine apart. Page and
    figures go to DIR/history, beside the stored runs.
    """
    from bench.history import history as read_history
    from bench.report.history import terminal_summary

    found, page = read_history(out)
    say(f"{terminal_summary(found.machines, found.notes)}\n{page}")
    return FOUND if check and found.worse else 0


def plainly(error: UnicodeError) -> tuple[str, int]:
    """Stand in for characters that a stream cannot write."""
    assert isinstance(error, UnicodeEncodeError)
    lacking = error.object[error.start : error.end]
    return "".join(PLAIN.get(character, "?") for character in lacking), error.end


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code. Whoever calls it tells of an interruption."""
    try:
        done = cli.main(arguments, prog_name="batchbench", standalone_mode=False)
    except (InputError, click.ClickException) as error:
        text = error.format_message() if isinstance(error, click.ClickException) else str(error)
        print(f"batchbench: {shortened(one_line(text), LONGEST)}", file=sys.stderr)
        return BAD_INPUT
    except (KeyboardInterrupt, Interrupted, click.Abort):
        return INTERRUPTED
    except StoppedError as error:
        print(f"batchbench: {error}", file=sys.stderr)
        return FAILURE
    except SystemExit:  # click's way where the reader of a pipe has gone: `batchbench walk | head`
        return 0
    except OSError as error:
        if error.errno not in FULL:
            return failed(error)
        where = shortened(one_line(str(error.filename or "a file")), LONGEST)
        print(
            f"batchbench: cannot write {where}: {error.strerror}; make room, also where compiled "
            "kernels are kept (XDG_CACHE_HOME, else ~/.cache)",
            file=sys.stderr,
        )
        return BAD_INPUT
    except Exception as error:
        return failed(error)
    return int(done or 0)  # what the command returned, if anything


def failed(error: Exception) -> int:
    """Tell of a failure that is none of the user's; return its exit code."""
    if process_end.asked():  # a library made something else of KeyboardInterrupt
        return INTERRUPTED
    if os.environ.get(DEBUG):
        traceback.print_exc()
    what = shortened(one_line(str(error)), LONGEST)
    print(
        f"batchbench: {type(error).__name__}: {what} (the same command with {DEBUG}=1 shows where)",
        file=sys.stderr,
    )
    return FAILURE


def main() -> None:
    """Run the command, and exit with its code; streams that know ASCII alone do not fail."""
    process_end.open_closed_streams()
    codecs.register_error("plainly", plainly)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="plainly")
    code = run()
    if code == INTERRUPTED:
        process_end.end()
    sys.exit(process_end.close_streams(code))
