"""The entry point: one place that runs a command and turns every error into an exit code.

0 done · 1 the answer is no, or an internal error · 2 wrong use, or what the system refuses ·
3 some records failed · 4 model missing or damaged · 5 plugin error · 130 interrupted ·
141 the reader of stdout went away
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.main import get_command

from .. import __version__
from ..errors import LmtoolError
from .console import error, prepare_streams, reset_console
from .convert import HELP_FLAGS, convert_plainly
from .group import Group

INTERRUPTED = 130
BROKEN_PIPE = 141
COMPLETION_VARIABLE = "_LMTOOL_COMPLETE"

app = typer.Typer(
    name="lmtool",
    cls=Group,
    help="Language models for the shell: run them on text, train them, ship them.",
    epilog="lmtool COMMAND --help tells more about each command.",
    invoke_without_command=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": HELP_FLAGS, "max_content_width": 100},
)


@app.callback()
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[
        bool,
        typer.Option("--debug", help="Show the traceback of an error (also LMTOOL_DEBUG=1)."),
    ] = False,
) -> None:
    """Print the help where no command is given."""
    if version:
        print(f"lmtool {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run the command line with these arguments and return its exit code."""
    arguments, debug = _take_debug(list(arguments))
    prepare_streams()
    interrupts = _Interrupts()
    try:
        try:
            code = _invoke(arguments)
        finally:
            _remember_plugins()
        if sys.stdout is not None:  # closed by the shell: >&-
            sys.stdout.flush()
        return code
    except BrokenPipeError:
        _close_stdout()
        return BROKEN_PIPE
    except KeyboardInterrupt:
        error("interrupted")
        return INTERRUPTED
    except Exception as problem:
        if interrupts.has_come:  # in the middle of an import, say, which makes another error of it
            error("interrupted")
            return INTERRUPTED
        if debug:
            import traceback

            traceback.print_exception(problem)
        return report(problem)
    finally:
        interrupts.release()
        reset_console()


class _Interrupts:
    """Raises KeyboardInterrupt at SIGINT, as Python does, and remembers it."""

    def __init__(self) -> None:
        self.has_come = False
        self._before: Any = None
        is_main = threading.current_thread() is threading.main_thread()
        usual = (signal.default_int_handler, signal.SIG_DFL)
        if is_main and signal.getsignal(signal.SIGINT) in usual:
            self._before = signal.signal(signal.SIGINT, self._handle)

    def _handle(self, number: int, frame: object) -> None:
        self.has_come = True
        raise KeyboardInterrupt

    def release(self) -> None:
        """Give SIGINT back."""
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)


def report(problem: Exception) -> int:
    """Print an exception as one message with its hint, and return the exit code it stands for."""
    if isinstance(problem, LmtoolError):
        error(problem.message, problem.hint)
        return problem.exit_code
    if isinstance(problem, typer.Exit):
        return problem.exit_code
    if isinstance(problem, typer.Abort):
        error("aborted")
        return 1
    if isinstance(problem, typer.TyperException):
        context: Any = getattr(problem, "ctx", None)
        path = context.command_path if context else "lmtool"
        error(problem.format_message(), f"see {path} --help")
        return 2
    if isinstance(problem, MemoryError):
        error("out of memory", "a smaller --batch-tokens, or shorter documents, take less")
        return 1
    if isinstance(problem, OSError) and problem.strerror:
        where = f"{problem.filename}: " if problem.filename else ""
        error(f"{where}{problem.strerror}")
        return 2
    described = f"{type(problem).__name__}: {problem}"
    if plugin := _plugin_at_fault(problem):
        error(f"plugin {plugin!r} failed: {described}", "--debug shows the traceback")
        return 5
    error(f"internal error: {described}", "--debug shows the traceback")
    return 1


def _invoke(arguments: list[str]) -> int:
    command = get_command(app)
    convert_plainly(command)
    if COMPLETION_VARIABLE in os.environ:
        command.main(arguments, prog_name="lmtool")
    with command.make_context("lmtool", arguments) as context:
        code = command.invoke(context)
    return code if isinstance(code, int) else 0


def _take_debug(arguments: list[str]) -> tuple[list[str], bool]:
    """Take --debug out, wherever it stands before a "--"."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    flags = [argument for argument in arguments[:end] if argument != "--debug"]
    variable = os.environ.get("LMTOOL_DEBUG", "") not in ("", "0")
    return flags + arguments[end:], variable or len(flags) < end


def _plugin_at_fault(problem: Exception) -> str | None:
    """Return the plugin whose code raised, or None where the core did.

    The innermost frame that belongs to a plugin or to the core decides.
    """
    from ..plugins import registry

    names = {p.value.split(":")[0].split(".")[0]: p.name for p in registry().plugins}
    at_fault = None
    trace = problem.__traceback__
    while trace is not None:
        package = str(trace.tb_frame.f_globals.get("__name__", "")).split(".")[0]
        if package in names or package == "lmtool":
            at_fault = names.get(package)
        trace = trace.tb_next
    return at_fault


def _remember_plugins() -> None:
    """Write what is new about the plugins that were imported where --help finds it."""
    from ..plugins import registry

    if registry.cache_info().currsize:
        from .summaries import remember

        remember(registry())


def _close_stdout() -> None:
    """Send what is left in stdout's buffer nowhere, so that the interpreter exits in silence."""
    with open(os.devnull, "wb") as nowhere:
        try:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        except OSError:  # a stream without a file descriptor
            return


if __name__ == "__main__":
    main()
