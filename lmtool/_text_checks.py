"""What `lmtool.testing.check_task` proves of a task for language models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ._checks import ODD_TEXTS, check_layers, require, telling
from .documents import LAYERS, Document, encode_document
from .errors import DataError
from .language import Completion, Message, Sampling
from .tasks import TextTask
from .textmodels import TextModel

if TYPE_CHECKING:
    from .language import LanguageModel

MAX_TOKENS = 8
ODD_COMPLETIONS = (
    "",
    " \n",
    "{",
    '{"a": [1, null]}',
    "```\nx\n```",
    "a" * 500,
    "\x1b[31m\x00é 你好",
)


def check_form(task: type[TextTask], documents: Sequence[Document]) -> TextTask:
    """The form is JSON and makes an instance; return it, as a bundle would give it."""
    form = task.collect_form(documents)
    require(isinstance(form, dict), task, "collect_form gave no dict", type(form))
    return task(msgspec.json.decode(msgspec.json.encode(form)))


def gold_of(task: TextTask, documents: Sequence[Document]) -> list[Document]:
    """Return the documents with gold, at least one."""
    gold = [document for document in documents if task.has_gold(document)]
    what = f"no document has gold in {', '.join(task.layers)}: give some that have"
    require(gold, task, what)
    return gold


def check_pairs(task: TextTask, gold: Sequence[Document]) -> None:
    """Training asks what running asks, and the gold's completion is read as the gold."""
    options = task.Options()
    for document in gold:
        blank = task.blank(document, options)
        right = task.score([document], [blank])[task.main_metric]
        require(right < 100, task, "blank leaves the gold in a document", document.text[:60])
        pairs = task.pairs(document)
        require(pairs, task, "pairs is empty for a document with gold", document.text[:60])
        for prompt, completion in pairs:
            good = isinstance(completion, str) and completion
            require(good, task, "pairs: a completion is no text", repr(completion))
            require(is_prompt(prompt), task, "pairs: a prompt is no text and no messages", prompt)
        prompt = pairs[-1][0]
        asked = task.prompt(blank, options)
        what = "pairs: the last prompt is not what `prompt` makes of the document without gold"
        require(prompt == asked, task, what, f"{prompt!r} and {asked!r}")
        answers = [_completion(answer) for before, answer in pairs if before == asked]
        layers = task.parse(blank, answers, options)
        check_layers(task, blank, layers, "parse of the gold")
        read = blank.with_layers(layers)
        score, best = (task.score([document], [d])[task.main_metric] for d in (read, document))
        what = f"gold -> pairs -> parse scores {score}, not {best}"
        require(score == best, task, what, document.text[:60])


def is_prompt(prompt: object) -> bool:
    """Whether this is what `prompt` may return, but for None."""
    if isinstance(prompt, str):
        return True
    return isinstance(prompt, Sequence) and all(_is_message(message) for message in prompt)


def _is_message(message: Any) -> bool:
    return isinstance(message, Mapping) and Message.__required_keys__ <= message.keys()


def check_odd_completions(task: TextTask, gold: Sequence[Document]) -> None:
    """Whatever a model writes is parsed to the task's own layers, or is a DataError."""
    options = task.Options()
    blank = task.blank(gold[0], options)
    for text in ODD_COMPLETIONS:
        where = f"the completion {text[:20]!r}"
        with telling(task, where):
            try:
                layers = task.parse(blank, [_completion(text)], options)
            except DataError:
                continue
        check_layers(task, blank, layers, where)


def check_texts(model: TextModel, texts: Mapping[str, str]) -> None:
    """Texts of every kind are answered with the task's own layers, or are a DataError."""
    task = model.task
    for name, text in texts.items():
        document = Document(text=text, id=name, fields={"other": [1]})
        before = encode_document(document)
        with telling(task, name):
            (found,) = model.annotate([document])
        require(encode_document(document) == before, task, f"{name}: the document was changed")
        if isinstance(found, DataError):
            continue
        names = {*LAYERS, *found.fields} - {"coverage"}
        written = {n: found.layer(n) for n in names if found.layer(n) is not document.layer(n)}
        check_layers(task, document, written, name)
        require(found.coverage is not None, task, f"{name}: no coverage")


def check_batch(model: TextModel, gold: Sequence[Document]) -> None:
    """A document is answered alike alone and among others."""
    task = model.task
    blank = [task.blank(document, model.options) for document in gold[:8]]
    with telling(task, "a run"):
        together = model.annotate(blank)
        alone = [model.annotate([document])[0] for document in blank]
    for one, other in zip(together, alone, strict=True):
        what = "a document is answered in another way among others"
        require(_shown(one) == _shown(other), task, what, f"{_shown(one)} and {_shown(other)}")


def model_for(task: TextTask, language_model: LanguageModel) -> TextModel:
    """Return a model of the task that writes little."""
    task.form.setdefault("chat", "prompt" not in task.form)
    return TextModel(task, language_model, sampling=Sampling(max_tokens=MAX_TOKENS))


def write_bundle(folder: Path, base: Path, task: type[TextTask]) -> Path:
    """Export a decoder as a bundle for a task."""
    from .language_export import LanguageExport, write_language_bundle

    options = LanguageExport(
        name="check", task=task.name, tasks=(task.name,), precision="fp32", texts=["The check."]
    )
    write_language_bundle(base, folder, options)
    return folder


def odd_texts() -> dict[str, str]:
    """Return the texts that every task must stand."""
    return {**ODD_TEXTS, "a text too long for the model": "All is well that ends well. " * 200}


def _completion(text: str) -> Completion:
    return Completion(text=text, finish="stop", tokens=1, prompt_tokens=1, seed=None)


def _shown(found: Document | DataError) -> object:
    return found.message if isinstance(found, DataError) else encode_document(found)
