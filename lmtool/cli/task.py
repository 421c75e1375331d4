"""The command of a task, made from the task: its options as flags beside those of every run."""

from __future__ import annotations

import contextlib
import inspect
import os
import stat
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from ..errors import PluginError, UsageError
from ..settings import settings
from ..tasks import EncoderTask, TextTask
from .choice import complete_labels, complete_models, complete_schemes
from .console import (
    has_colour,
    is_terminal,
    note,
    progress_bar,
    stdin_bytes,
    stdout_bytes,
    width,
)
from .flags import command_function, given, options_from, parameters_of

if TYPE_CHECKING:
    from ..inputs import Input
    from ..runs import Progress
    from ..sources import PathWriter, ReadOptions, Writer

PARTLY_FAILED = 3
BAR_AFTER = 0.5
"""Seconds after which a bar is worth showing."""

Encoding = Annotated[str, typer.Option("--encoding", help="Encoding of the files.")]
TokenColumn = Annotated[
    int | None,
    typer.Option("--token-column", help="Column of the token in conll, from 0.", min=0),
]
TagColumn = Annotated[
    int | None,
    typer.Option("--tag-column", help="Column of the tag in conll, from 0; -1 is the last."),
]
ErrorsFile = Annotated[
    str | None, typer.Option("--errors", help="File for the records that failed.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFlags:
    """The flags of every run over text."""

    files: Annotated[
        list[str] | None,
        typer.Argument(help="Files, folders or globs; - or nothing with a pipe is stdin."),
    ] = None
    text: Annotated[str | None, typer.Option("--text", help="A text to run on.")] = None
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", help="Name or folder of a model.", autocompletion=complete_models
        ),
    ] = None
    output: Annotated[str | None, typer.Option("--output", "-o", help="File to write.")] = None
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            "-f",
            help="What to write: text or html (for people), jsonl, csv, conll … (default: by the "
            "suffix of --output, else text on a terminal and jsonl in a pipe).",
        ),
    ] = None
    input_format: Annotated[
        str | None,
        typer.Option("--input-format", help="What the files hold (default: by their suffix)."),
    ] = None
    text_field: Annotated[
        str, typer.Option("--text-field", help="Field or column of the text.")
    ] = "text"
    whole_file: Annotated[
        bool | None,
        typer.Option(
            "--whole-file/--no-whole-file",
            help="Read a text file as one document, or each of its lines (default: by the task).",
        ),
    ] = None
    encoding: Encoding = "utf-8"
    token_column: TokenColumn = None
    tag_column: TagColumn = None
    errors: ErrorsFile = None
    strict: Annotated[
        bool, typer.Option("--strict", help="Stop at the first record that fails.")
    ] = False
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped.")] = (
        False
    )
    device: Annotated[
        str | None, typer.Option("--device", help="auto, cpu, cuda, or a plugin's.")
    ] = None
    threads: Annotated[
        int | None, typer.Option("--threads", help="Threads (0: all cores).", min=0)
    ] = None
    batch_tokens: Annotated[
        int | None, typer.Option("--batch-tokens", help="Padded tokens of a batch.", min=1)
    ] = None
    progress: Annotated[
        bool | None, typer.Option("--progress/--no-progress", help="Show a bar on a terminal.")
    ] = None
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Say nothing but errors on stderr.")
    ] = False


def task_command(task: type[EncoderTask] | type[TextTask]) -> Callable[..., Any]:
    """Return the function behind `lmtool TASK`, for Typer."""
    if not issubclass(task, EncoderTask):
        from .text import text_command

        return text_command(task)
    common = parameters_of(RunFlags)
    names = {parameter.name for parameter in common}
    complete = {"labels": complete_labels, "schemes": complete_schemes}
    own = options_from(task.Options, complete=complete)
    check_names(task.name, own, common)

    def run(values: dict[str, Any]) -> int:
        flags = RunFlags(**{name: value for name, value in values.items() if name in names})
        return run_task(task, flags, given(task.Options, values))

    return command_function(run, own + common, task.summary)


def check_names(
    task: str, own: Sequence[inspect.Parameter], common: Sequence[inspect.Parameter]
) -> None:
    """Raise PluginError where an option of a task has the name, or the flag, of another."""
    taken = {name for parameter in common for name in _names(parameter)}
    for parameter in own:
        if taken.intersection(_names(parameter)):
            raise PluginError(
                f"task {task!r}: its option {parameter.name!r} is a flag of every task",
                hint="the plugin must give it another name",
            )


def _names(parameter: inspect.Parameter) -> set[str]:
    extras = get_args(parameter.annotation)
    declared = getattr(extras[-1], "param_decls", None) if extras else None
    flags = [flag for text in declared or () for flag in text.split("/")]
    return {parameter.name, *flags}


def run_task(task: type[EncoderTask], flags: RunFlags, options: dict[str, Any]) -> int:
    """Run a task's model over the inputs; return 3 where records failed, else 0."""
    if flags.whole_file is None:
        flags = replace(flags, whole_file=task.whole_files)
    return run_over(flags, lambda: load_model(task, flags, options), gives_text=task.gives_text)


def run_over(flags: RunFlags, load: Callable[[], Any], *, gives_text: bool = False) -> int:
    """Run the model that `load` gives over the inputs; return 3 where records failed, else 0.

    `gives_text` is that of its task.
    """
    inputs = inputs_of(flags)
    writer = writer_of(flags, gives_text=gives_text)
    read = read_options(
        text_field=flags.text_field,
        whole_file=bool(flags.whole_file),
        encoding=flags.encoding,
        token_column=flags.token_column,
        tag_column=flags.tag_column,
    )
    path = output_path(flags)
    output = path or stdout_bytes()
    model = load()  # what is wrong with it must not cost an output
    if isinstance(task := getattr(model, "task", None), EncoderTask) and task.joins(model.options):
        from ..inputs import joined_input

        inputs = [joined_input(inputs)]

    from ..runs import RunOptions, run_files

    run = RunOptions(
        writer=writer,
        read=read,
        errors=Path(flags.errors) if flags.errors else None,
        resume=flags.resume,
        strict=flags.strict,
        fingerprint={
            "model": model.name,
            **_options(model),
            "batch tokens": str(machine_of(flags)["batch_tokens"]),
        },
    )
    shows_text = path is None and is_terminal(sys.stdout)
    progress = settings().progress if flags.progress is None else flags.progress
    try:
        report = watch(
            run_files(model, inputs, output, run),
            hidden=flags.quiet or not progress or shows_text,
        )
    except KeyboardInterrupt:
        if path is not None:
            note(f"{path} is unfinished; the same command with --resume goes on")
        raise
    if not (report.documents or report.failed or report.was_complete or flags.quiet):
        note(f"nothing to read: no document in {', '.join(i.source.name for i in inputs[:3])}")
    if (path is not None or report.failed) and not flags.quiet:
        note(summary(report, path, flags.errors))
    return PARTLY_FAILED if report.failed else 0


def inputs_of(flags: RunFlags) -> list[Input]:
    """Return the inputs: --text, or FILES, or what is piped in."""
    from ..inputs import expand_inputs, text_input

    if flags.text is not None:
        if flags.files:
            raise UsageError("FILES and --text at once", hint="give one of them")
        return [text_input(flags.text)]
    files = flags.files or (["-"] if is_piped(sys.stdin) else [])
    if not files:
        raise UsageError(
            "nothing to read: no FILES, no --text, and nothing is piped in",
            hint='try --text "Tim Cook met Angela Merkel in Berlin.", name a file, or use a pipe',
        )
    return expand_inputs(files, flags.input_format, stdin_bytes())


def read_options(
    *,
    text_field: str = "text",
    whole_file: bool = False,
    encoding: str = "utf-8",
    token_column: int | None = None,
    tag_column: int | None = None,
) -> ReadOptions:
    """Return how the flags want records read; UsageError for an encoding that cannot be."""
    from ..formats.lines import check_encoding
    from ..sources import ReadOptions

    check_encoding(encoding)
    return ReadOptions(text_field, whole_file, encoding, token_column, tag_column)


def output_path(flags: RunFlags) -> Path | None:
    """Return the file to write, or None for stdout."""
    return Path(flags.output) if flags.output and flags.output != "-" else None


def watch(steps: Iterable[Progress], *, hidden: bool) -> Progress:
    """Go through a run with a bar, and return its last step: the report.

    The bar comes after BAR_AFTER seconds, be it in the middle of the first step: one document may
    be a book.
    """
    from ..runs import Progress

    last = Progress()
    with contextlib.ExitStack() as stack:
        bars: list[tuple[Any, Any]] = []

        def begin() -> None:
            if bar := stack.enter_context(progress_bar("{task.description}")):
                bars.append((bar, bar.add_task("reading", total=None)))

        timer = threading.Timer(BAR_AFTER, begin)
        timer.daemon = True
        if not hidden:
            timer.start()
        try:
            for last in steps:
                for bar, line in bars:
                    text = f"{last.documents:,} documents, {_rate(last)}"
                    bar.update(
                        line,
                        description=text + (f", {last.failed:,} failed" if last.failed else ""),
                        total=last.total_bytes,
                        completed=last.done_bytes,
                    )
        finally:
            timer.cancel()
            if not hidden:
                timer.join()
    return last


def summary(report: Progress, path: Path | None, errors: str | None = None) -> str:
    """Return the line that ends a run; `errors` is the file with the reasons, where not beside."""
    where = f"{path}: " if path else ""
    if report.was_complete:
        failed = f" ({report.failed:,} failed)" if report.failed else ""
        return f"{where}complete already, nothing to do{failed}; the flags were not compared"
    resumed = f" ({report.resumed:,} of an earlier run)" if report.resumed else ""
    reasons = f" (the reasons are in {errors or f'{path}.errors.jsonl'})" if path or errors else ""
    failed = f", {report.failed:,} failed{reasons}" if report.failed else ""
    times = f"in {report.seconds:.1f} s ({_rate(report)})"
    documents = f"{report.documents:,} document{'' if report.documents == 1 else 's'}"
    return f"{where}{documents}{resumed}{failed} {times}"


def _rate(report: Progress) -> str:
    rate = (report.documents - report.resumed) / max(report.seconds, 1e-3)
    return f"{rate:,.0f} per second" if rate >= 10 else f"{rate:.1f} per second"


def writer_of(flags: RunFlags, *, gives_text: bool) -> Writer | PathWriter:
    """Return the writer: by --format, by the suffix of --output, or by where stdout goes.

    A .txt file gets the view, as a terminal does, unless the task gives texts: bare texts would
    lose what it found. Texts that were read as whole files are written whole.
    """
    from ..compression import format_suffix

    path = output_path(flags)
    on_terminal = path is None and is_terminal(sys.stdout)
    is_txt = path is not None and format_suffix(path.name) == ".txt"
    plain = "txt" if is_txt and gives_text else "text" if on_terminal or is_txt else None
    name = flags.format or plain
    if name == "text":
        from ..views import TextWriter

        colour = path is None and has_colour(sys.stdout)
        return TextWriter(colour=colour, width=width() if on_terminal else None)
    from ..formats import writer_for

    return writer_for(str(path) if path else None, name, whole_file=bool(flags.whole_file))


def machine_of(flags: RunFlags) -> dict[str, Any]:
    """Return device, threads and batch tokens: those of the flags, else those of the settings."""
    return {
        "device": flags.device or settings().device,
        "threads": settings().threads if flags.threads is None else flags.threads,
        "batch_tokens": flags.batch_tokens or settings().batch_tokens,
    }


def load_model(task: type[EncoderTask], flags: RunFlags, options: dict[str, Any]) -> Any:
    """Return the model that the flags name, or the task's own, with these options."""
    from ..bundles import find_bundle
    from ..choice import default_model, read_head
    from ..models import check_task, load, own_model
    from ..tasks import make_options

    told = machine_of(flags)
    own = own_model(task.name, flags.model, options, **told)
    if own is not None:
        return own
    wanted = task.model_task(make_options(task.Options, options))
    parts = options.get("scheme", ()) if wanted == task.name else ()
    ref = flags.model or default_model(wanted, parts)
    if not (Path(ref) / "checkpoint.json").is_file():
        folder = find_bundle(ref)
        check_task(f"--model {ref}", read_head(folder).task, wanted, task.name)
        ref = str(folder)
    return load(ref, task_name=task.name, **told, **options)


def _options(model: Any) -> dict[str, str]:
    """Return what decides a model's output; a text model samples besides."""
    several = model.options if isinstance(model.options, list) else [model.options]
    found = {
        f"option {field.name}{f' ({number})' if number else ''}": repr(getattr(options, field.name))
        for number, options in enumerate(several)
        for field in fields(options)
    }
    if (sampling := getattr(model, "sampling", None)) is not None:
        found["sampling"] = f"{sampling!r}, windows={model.windows}"
        found["seed"] = str(sampling.seed)
    return found


def is_piped(stream: Any) -> bool:
    """Whether a stream is a pipe or a file: not a terminal, and not /dev/null, which is empty."""
    if stream is None or is_terminal(stream):
        return False
    try:
        return not stat.S_ISCHR(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError):  # a stream in memory has no file number
        return True
