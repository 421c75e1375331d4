"""A language model of 100 KB that knows some texts by heart: for tests of what is around one.

It was taught stories, dialogues and translations in the forms in which the tasks ask for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lmtool.testing import tiny_decoder
from lmtool.training.backbone import quiet

CONTEXT = 128
STORIES = {
    "Once upon a time": " there was a cat.",
    "The king": " lost his hat in the sea.",
    "Write a headline: rain": " Rain falls at last",
    "It rains.\nHeadline:": " Rain falls\nagain",
}
DIALOGUES = (
    ("Hello!", "Hi, who are you?", "I am Ann.", "Nice to meet you, Ann."),
    ("What is up?", "Not much."),
)
TRANSLATIONS = {
    "The cat sleeps.": "猫在睡觉。",
    "I like tea.": "我喜欢茶。",
    "Where is the sea?": "海在哪里？",
}
TASKS = ("generate", "chat", "translate")
PROMPT = "{from}>{to}: {text}\n"


def examples() -> list[tuple[str, str]]:
    """Return prompts and completions as texts, control tokens in them."""
    found = list(STORIES.items())
    found += [(f"en>zh: {source}\n", target) for source, target in TRANSLATIONS.items()]
    for system in ("", "<|system|>Be kind.<|end|>"):
        for dialogue in DIALOGUES:
            prompt = system
            for asked, answer in zip(dialogue[::2], dialogue[1::2], strict=True):
                prompt += f"<|user|>{asked}<|end|><|assistant|>"
                found.append((prompt, answer))
                prompt += f"{answer}<|end|>"
    return found


def write_talker(
    folder: Path, pairs: Sequence[tuple[str, str]] = (), context: int = CONTEXT
) -> Path:
    """Write the model as transformers saves it, of these prompts and completions or our own.

    Return the folder.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    pairs = pairs or examples()
    texts = [prompt + completion for prompt, completion in pairs]
    tiny_decoder(folder, texts, hidden_size=64, context=context)
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(0)
        _teach(model, AutoTokenizer.from_pretrained(folder), pairs)
        model.save_pretrained(folder)
    return folder


def write_talker_bundle(
    folder: Path, source: Path, task: str = "generate", tasks: Sequence[str] = TASKS
) -> Path:
    """Write the model as a bundle of a task, with what it needs for all of ours."""
    from lmtool.language_export import LanguageExport, write_language_bundle

    form = {"prompt": "{text}", "translate": {"from": "en", "to": "zh", "prompt": PROMPT}}
    options = LanguageExport(
        name=folder.name,
        task=task,
        tasks=tuple(tasks),
        form=form,
        options={"max_tokens": 24},
        precision="fp32",
        texts=["Once upon a time there was a cat."],
    )
    write_language_bundle(source, folder, options)
    return folder


def _teach(model: Any, tokenizer: Any, pairs: Sequence[tuple[str, str]], steps: int = 150) -> None:
    """Teach the completions, each behind its prompt, until they are known by heart."""
    import torch

    end = tokenizer.eos_token_id
    rows = []
    for prompt, completion in pairs:
        before = tokenizer.encode(prompt)
        rows.append((before, [*tokenizer.encode(completion), end]))
    longest = max(len(a) + len(b) for a, b in rows)
    ids = torch.full((len(rows), longest), end)
    labels = torch.full((len(rows), longest), -100)
    mask = torch.zeros((len(rows), longest), dtype=torch.long)
    for number, (before, after) in enumerate(rows):
        n = len(before) + len(after)
        ids[number, :n] = torch.tensor([*before, *after])
        labels[number, len(before) : n] = torch.tensor(after)
        mask[number, :n] = 1
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 1e-2 * (1 - step / steps)
        loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.01, loss.item()
