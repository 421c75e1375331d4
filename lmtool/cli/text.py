"""The command of a task for language models: what it takes, how texts are drawn, streaming."""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UsageError
from ..settings import settings
from ..tasks import TextTask
from .console import is_terminal, note, stdout_bytes
from .flags import command_function, given, options_from, parameters_of
from .task import RunFlags, check_names, is_piped, output_path, run_over

if TYPE_CHECKING:
    from .._answers import Answer
    from ..textmodels import TextModel

_UNUSED = ("batch_tokens", "token_column", "tag_column")
"""Flags of a run that do nothing here."""
_DRAWING = ("seed", "top_p", "top_k")
"""Options of Sampling that do nothing where the likeliest token is always taken."""
_ESCAPES = {r"\n": "\n", r"\t": "\t", r"\\": "\\"}


def text_command(task: type[TextTask]) -> Callable[..., Any]:
    """Return the function behind `lmtool TASK` of a task for language models, for Typer."""
    common = _run_flags(task)
    sampling = _sampling_flags(task)
    own = options_from(task.Options)
    check_names(task.name, own, [*common, *sampling])
    return command_function(
        lambda values: _run(task, values), [*own, *sampling, *common], task.summary
    )


def _run(task: type[TextTask], values: dict[str, Any]) -> int:
    """Run the task as its flags say; return the exit code."""
    words, sources = values.get("words") or (), values.get("sources") or ()
    names = {parameter.name for parameter in parameters_of(RunFlags)}
    own = {name: value for name, value in values.items() if name in names}
    if task.command == "dialogue" and (sources or own["text"] is not None):
        _check_idle(values, "--from" if sources else "--text")
    if task.command == "files":
        flags = RunFlags(**own)
        if task.is_streamed and flags.text is not None and _is_streamed(flags, values):
            return _stream(load_text(task, flags, values), flags)
    elif sources:  # what follows the first file of --from *.txt stands where a prompt would
        flags = RunFlags(**own, files=[*sources, *words])
    elif task.command == "dialogue":
        flags = RunFlags(**own)
        if flags.text is None:
            from .dialogue import talk

            return talk(lambda: load_text(task, flags, values), flags, values)
    else:
        flags = RunFlags(**own, text=_prompt_of(words))
        if flags.text is None and not is_piped(sys.stdin):
            raise UsageError(
                "no prompt: nothing is given, and nothing is piped in",
                hint=f'lmtool {task.name} "Once upon a time", or --from FILES',
            )
        if flags.text is not None and _is_streamed(flags, values):
            return _stream(load_text(task, flags, values), flags)
    try:
        return run_over(
            flags,
            lambda: _seeded(load_text(task, flags, values), flags),
            gives_text=task.gives_text,
        )
    except UsageError as error:
        if task.command == "prompt" and "--text" in error.hint:
            error.hint = "a prompt itself is given without --from"
        raise


def _check_idle(values: dict[str, Any], flag: str) -> None:
    """Raise UsageError for files of a dialogue beside a flag that begins none."""
    for name in ("load", "save"):
        if values.get(name) is not None:
            raise UsageError(
                f"--{name} does not go with {flag}, which keeps no dialogue",
                hint="pipe the lines in, or type them: echo 'Hello!' | lmtool chat --load FILE",
            )


def _prompt_of(words: Sequence[str]) -> str | None:
    if len(words) > 1:
        raise UsageError(
            f"{len(words)} prompts", hint='put one in quotes: "…"; name files with --from'
        )
    return words[0] if words else None


def load_text(task: type[TextTask], flags: RunFlags, values: dict[str, Any]) -> TextModel:
    """Return the model that the flags name, or the task's own, with these options."""
    from ..language import Sampling
    from ..textmodels import load_text_model

    drawn = {key: value for key, value in values.items() if key not in ("stop", "schema")}
    sampling = given(Sampling, drawn)
    if values.get("stop"):
        sampling["stop"] = tuple(map(_unescaped, values["stop"]))
    if values.get("schema") is not None:
        sampling["schema"] = _schema(values["schema"])
    model = load_text_model(
        flags.model,
        task_name=task.name,
        device=flags.device or settings().device,
        threads=settings().threads if flags.threads is None else flags.threads,
        windows=bool(values.get("windows")),
        **given(task.Options, values),
        **sampling,
    )
    idle = [f"--{name.replace('_', '-')}" for name in _DRAWING if name in sampling]
    if idle and not model.sampling.is_random and not flags.quiet:
        note(f"(without --temperature nothing is drawn by chance: no {' and no '.join(idle)})")
    return model


def _seeded(model: TextModel, flags: RunFlags) -> TextModel:
    """Draw a seed for a run that needs one and has none, or take that of the run that goes on."""
    from ..journal import begun_with
    from ..language import seed_of

    if model.sampling.is_random and model.sampling.seed is None:
        path = output_path(flags) if flags.resume else None
        known = "" if path is None else begun_with(path).get("seed", "")
        seed = int(known) if known.isdecimal() else seed_of(model.sampling)
        model.sampling = dataclasses.replace(model.sampling, seed=seed)
        if _is_view(flags) and not flags.quiet:  # a view does not show it
            note(f"(drawn with --seed {seed})")
    return model


def _schema(path: Path) -> str:
    from .._engine import guidance

    try:
        text = path.read_text("utf-8-sig")
        guidance(text)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(
            f"--schema {path}: cannot be read: {reason}", hint="name a file of a JSON schema"
        ) from error
    except UsageError as error:
        raise UsageError(f"--schema {path}: {error.message}", hint=error.hint) from error
    return text


def _unescaped(text: str) -> str:
    r"""Return a text with \n, \t and \\ as a shell's user writes them."""
    return re.sub(r"\\[nt\\]", lambda match: _ESCAPES[match[0]], text)


# ── streaming ────────────────────────────────────────────────────────────────────────────────


def _is_streamed(flags: RunFlags, values: dict[str, Any]) -> bool:
    """Whether the answer is shown as it comes: for people, on stdout, and there is one."""
    return (values.get("choices") or 1) == 1 and _is_view(flags) and not flags.resume


def _is_view(flags: RunFlags) -> bool:
    """Whether texts for people go to stdout."""
    is_text = flags.format == "text" or (flags.format is None and is_terminal(sys.stdout))
    return is_text and output_path(flags) is None


def _stream(model: TextModel, flags: RunFlags) -> int:
    """Print the answer to one text as it comes, window by window."""
    model = _seeded(model, flags)
    sampling, unit = model.sampling, model.task.unit(model.options)
    is_cut = model.windows or unit != "text"  # several windows draw together, not one by one
    if sampling.choices > 1 or (sampling.is_random and is_cut):
        return run_over(flags, lambda: model, gives_text=model.task.gives_text)
    out = stdout_bytes()
    answers = []
    try:
        for before, answer in model.stream_windows(flags.text or ""):
            out.write(before.encode())
            _write_pieces(answer)
            answers.append(answer)
    finally:
        out.write(b"\n")
        out.flush()
    for answer in answers:
        _say_cut(answer, quiet=flags.quiet)
    return 0


def write_answer(answer: Answer, *, quiet: bool = False) -> None:
    """Print an answer on stdout as it comes, and say where it was cut.

    White space before and after it is left out. Control characters are shown, never sent.
    """
    out = stdout_bytes()
    try:
        _write_pieces(answer)
    finally:
        out.write(b"\n")
        out.flush()
    _say_cut(answer, quiet=quiet)


def _write_pieces(answer: Answer) -> None:
    out = stdout_bytes()
    held = ""
    has_begun = False
    for piece in answer:
        text = held + piece if has_begun else (held + piece).lstrip()
        kept = text.rstrip()
        held, has_begun = text[len(kept) :], has_begun or bool(kept)
        out.write(_shown(kept).encode("utf-8", "backslashreplace"))
        out.flush()


def _say_cut(answer: Answer, *, quiet: bool) -> None:
    completion = answer.completion
    if completion is not None and completion.finish == "length" and not quiet:
        why = "the model's context is full" if answer.fills_context else "--max-tokens"
        n_tokens = f"{completion.tokens} token{'' if completion.tokens == 1 else 's'}"
        note(f"(cut at {n_tokens}: {why})")


def _shown(text: str) -> str:
    if text.replace("\n", "").isprintable():  # the rule: spare the import
        return text
    from ..views import clean

    return clean(text)


# ── flags ────────────────────────────────────────────────────────────────────────────────────


def _sampling_flags(task: type[TextTask]) -> list[inspect.Parameter]:
    from ..language import Sampling

    hidden = () if task.takes_choices else ("choices",)
    flags = options_from(Sampling, without=("stop", "schema", "shrinks", *hidden))
    return [*flags, *parameters_of(_drawn)]


def _drawn(
    stop: Annotated[
        list[str] | None,
        typer.Option("--stop", help=r"Text to stop before, as often as needed; \n is a line end."),
    ] = None,
    schema: Annotated[
        Path | None,
        typer.Option("--schema", help="File of a JSON schema: the answer is JSON that fits it."),
    ] = None,
) -> None:
    """Hold the flags of Sampling that are no plain values."""


def _windows(
    windows: Annotated[
        bool,
        typer.Option("--windows", help="Read a text that does not fit in windows of sentences."),
    ] = False,
) -> None:
    """Hold the flag of tasks that can join what they find in windows."""


def _prompt(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="PROMPT", help="What to continue or answer.")
    ] = None,
    sources: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            metavar="FILES",
            help="Files, folders or globs of prompts, - for stdin; more may follow.",
        ),
    ] = None,
) -> None:
    """Hold what a command takes that takes a prompt."""


def _dialogue(
    words: Annotated[list[str] | None, typer.Argument(hidden=True, metavar="--from FILES")] = None,
    sources: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            metavar="FILES",
            help="Files, folders or globs of dialogues to answer, - for stdin; more may follow.",
        ),
    ] = None,
    load: Annotated[
        Path | None, typer.Option("--load", help="Go on with the dialogue of this file.")
    ] = None,
    save: Annotated[
        Path | None, typer.Option("--save", help="Keep the dialogue in this file.")
    ] = None,
) -> None:
    """Hold what a command takes that talks."""


def _run_flags(task: type[TextTask]) -> list[inspect.Parameter]:
    """Return the flags of a run, but for those that this task has no use for."""
    taken = {"files": (), "prompt": ("files", "text"), "dialogue": ("files",)}[task.command]
    more = {"files": None, "prompt": _prompt, "dialogue": _dialogue}[task.command]
    flags = [p for p in parameters_of(RunFlags) if p.name not in (*taken, *_UNUSED)]
    joins = task.join is not TextTask.join and task.unit is TextTask.unit
    return [
        *(parameters_of(more) if more else ()),
        *flags,
        *(parameters_of(_windows) if joins else ()),
    ]
