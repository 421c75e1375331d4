"""Chat templates: Jinja in a sandbox, with the names that Hugging Face's templates expect.

The environment is that of transformers.utils.chat_template_utils, so that a prompt is the same in
training and here.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from .errors import UsageError


def render_chat(
    template: str,
    messages: Sequence[Mapping[str, Any]],
    names: Mapping[str, str],
    *,
    wants_answer: bool = True,
) -> str:
    """Return messages in the form of a template, up to where the answer starts."""
    try:
        return _compiled(template).render(
            messages=list(messages), tools=None, documents=None,
            add_generation_prompt=wants_answer, **names,
        )  # fmt: skip
    except (UsageError, MemoryError):
        raise
    except jinja2.TemplateError as error:
        raise UsageError(
            f"the model's chat template refuses this dialogue: {error}",
            hint="some take no system message, and most want user and assistant by turns",
        ) from error
    except Exception as error:  # the code of a template can go wrong in any way
        raise UsageError(
            f"the model's chat template fails on this dialogue: {type(error).__name__}: {error}",
            hint="most want user and assistant by turns; else the template itself is broken",
        ) from error


class _Generation(jinja2.ext.Extension):
    """The tag that marks an answer for training: it leaves no mark in the text."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Namespace(jinja2.utils.Namespace):
    """A namespace that holds no underscored names: those lead out of the sandbox."""

    def __setitem__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            raise jinja2.exceptions.SecurityError(f"a namespace cannot hold {name!r}")
        super().__setitem__(name, value)


def _tojson(value: Any, **options: Any) -> str:
    """Write JSON; Jinja's own filter escapes for HTML."""
    return json.dumps(value, **{"ensure_ascii": False, **options})


def _raise(message: str) -> None:
    raise jinja2.TemplateError(message)


def _now(pattern: str) -> str:
    return datetime.now().strftime(pattern)


@functools.lru_cache(maxsize=8)
def _compiled(template: str) -> jinja2.Template:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals |= {"raise_exception": _raise, "strftime_now": _now}
    environment.globals["namespace"] = _Namespace
    try:
        return environment.from_string(template)
    except jinja2.TemplateError as error:
        raise UsageError(f"the model's chat template is broken: {error}") from error
