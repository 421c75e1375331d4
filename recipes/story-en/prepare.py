"""Convert novels, plays and speeches into documents of plain text.

    python recipes/story-en/prepare.py DATA_FOLDER OUT_FOLDER

DATA_FOLDER holds gutenberg, tinyshakespeare, inaugural and state_union as they are published.
OUT_FOLDER gets train/SET.jsonl and dev/SET.jsonl, one document a line; sources.json (licences,
counts). The same input gives the same bytes. Nothing but Python is used.

- Novels: a document is a chapter. What is around the novel goes (producers, contents, lists of
  pictures, advertisements), and so do headings. Lines that were wrapped are joined into
  paragraphs, verses keep their lines. Quotes become straight and dashes "--", since some books
  have them so, and keyboards too. DEV_BOOKS are held out as a whole.
- Plays: the text as it is; its last tenth is held out, as is usual for this file.
- Speeches: a document is a speech, without its date and (Applause.). Each tenth is held out.
"""

import argparse
import json
import re
import statistics
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

Document = dict[str, Any]

DEV_BOOKS = ("The-Adventures-of-Sherlock-Holmes_1661",)
"""Held out: an author of whom nothing is in the training part."""
TAIL_CHARACTERS = 20_000
"""An end mark counts only this near to the end of the file."""
LEAST_CHARACTERS = 800
"""Chapters and speeches with fewer are left out: they are headings, or notes on the edition."""

HEADING = re.compile(
    r"(chapter|book|volume|part|adventure|(first|second) epilogue|epilogue|preface|prelude|finale"
    r"|conclusion|note to the .* edition|etymology|extracts)\b.{0,90}",
    re.IGNORECASE | re.DOTALL,
)
NUMERAL = re.compile(r"[IVXLC]+\.?|[IVXLC]+\. [A-Z].{0,60}")
END = re.compile(
    r"^\W*(End of (the )?Project Gutenberg|THE END\b|Transcriber's Note|FINIS\b).*", re.MULTILINE
)
CHARACTERS = str.maketrans(
    {
        "“": '"', "”": '"', "‘": "'", "’": "'", "—": "--", "–": "-", "\xa0": " ", "_": "",
        "\u3000": " ", "…": "...", "\x92": "'", "\x93": '"', "\x94": '"', "\x97": "--",
        "\x96": "-", "\x85": "...", "\x91": "'", "\ufeff": "",
    }
)  # fmt: skip


def decode(data: bytes) -> str:
    """Read UTF-8, and the files of speeches that passed through Big5 or are Latin-1."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("big5" if b"\xa1" in data else "latin-1")


def tidy(text: str) -> str:
    """Straight quotes, plain dashes, one space between words."""
    return re.sub(r"[ \t]+", " ", text.translate(CHARACTERS)).strip()


# ── novels ───────────────────────────────────────────────────────────────────────────────────


def chapters(text: str) -> Iterator[str]:
    """Yield the chapters of a book in the form that Project Gutenberg gives it."""
    text = text.replace("\r\n", "\n").translate(CHARACTERS)
    tail = len(text) - TAIL_CHARACTERS
    ends = [match.start() for match in END.finditer(text) if match.start() > tail]
    text = text[: min(ends, default=len(text))]
    paragraphs: list[str] | None = None
    for block in re.split(r"\n[ \t]*\n", text):
        if is_heading(block):
            yield from whole_chapter(paragraphs)
            paragraphs = []
        elif paragraphs is not None and (paragraph := unwrap(block)):
            paragraphs.append(paragraph)
    yield from whole_chapter(paragraphs)


def is_heading(block: str) -> bool:
    block = block.strip()
    return bool(HEADING.fullmatch(block) or NUMERAL.fullmatch(block))


def whole_chapter(paragraphs: list[str] | None) -> Iterator[str]:
    """Yield a chapter, unless it is a list of contents or too short to be one."""
    while paragraphs and not is_prose(paragraphs[0]):
        paragraphs = paragraphs[1:]  # the chapter's title
    if not paragraphs:
        return
    text = "\n\n".join(paragraphs)
    if len(text) >= LEAST_CHARACTERS and statistics.mean(map(is_prose, paragraphs)) > 0.5:
        yield text


def is_prose(paragraph: str) -> bool:
    """Whether it ends as a sentence does, and is not in capitals alone."""
    return bool(re.search(r"[.!?;:,\"'\-)\]]$", paragraph)) and not paragraph.isupper()


def unwrap(block: str) -> str:
    """Join the wrapped lines of a paragraph; verses and other indented lines stay lines."""
    lines = [line.rstrip() for line in block.split("\n") if line.strip()]
    marks = re.sub(r"[\s*.]", "", "".join(lines))
    if not marks or lines[0].lstrip().startswith(("[Illustration", "[*", "* ")):
        return ""
    block = " ".join(lines)
    if block.strip().isupper():
        return ""
    is_verse = all(line.startswith("  ") and len(line) < 65 for line in lines[1:])
    return "\n".join(map(tidy, lines)) if is_verse and len(lines) > 1 else tidy(block)


def read_gutenberg(folder: Path) -> Iterator[tuple[str, Document]]:
    for path in sorted(folder.glob("*.txt")):
        part = "dev" if path.stem in DEV_BOOKS else "train"
        name = path.stem.rpartition("_")[0]
        for number, text in enumerate(chapters(decode(path.read_bytes())), 1):
            yield part, {"id": f"{name}-{number}", "text": text}


# ── plays ────────────────────────────────────────────────────────────────────────────────────


def read_tinyshakespeare(folder: Path) -> Iterator[tuple[str, Document]]:
    text = (folder / "input.txt").read_text("utf-8")
    cut = len(text) * 9 // 10
    yield "train", {"id": "tinyshakespeare-train", "text": text[:cut]}
    yield "dev", {"id": "tinyshakespeare-dev", "text": text[cut:]}


# ── speeches ─────────────────────────────────────────────────────────────────────────────────


def speech(text: str) -> str:
    """Return what is said: without the date and the place at the head, and without stage notes."""
    text = re.sub(r"[(\[](?:Applause|Laughter|APPLAUSE|LAUGHTER)[^)\]]*[)\]]", "", text)
    text = re.split(r"\n\s*(?:WEB RESOURCES >>|(?:Note|NOTE): |END \d|\?\?\s*\n)", text)[0]
    lines = text.replace("\r", "").split("\n")
    is_wrapped = statistics.median([len(line) for line in lines if line.strip()]) < 100
    blocks = re.split(r"\n\s*\n", "\n".join(lines)) if is_wrapped else lines
    paragraphs = [paragraph for block in blocks if (paragraph := tidy(" ".join(block.split("\n"))))]
    paragraphs = [re.sub(r"^(THE|The) PRESIDENT[:.] *", "", p) for p in paragraphs]
    first = next((n for n, p in enumerate(paragraphs) if is_spoken(p)), 0)
    return "\n\n".join(p for p in paragraphs[first:] if p)


def is_spoken(paragraph: str) -> bool:
    """Whether a speech can begin so: with a greeting, or with a long sentence."""
    return not paragraph.isupper() and (paragraph.endswith(":") or len(paragraph) > 120)


def read_speeches(folder: Path) -> Iterator[tuple[str, Document]]:
    for number, path in enumerate(sorted(folder.glob("*.txt"))):
        text = speech(decode(path.read_bytes()))
        if len(text) >= LEAST_CHARACTERS:
            yield "dev" if number % 10 == 9 else "train", {"id": path.stem, "text": text}


# fmt: off
SETS = {
    "gutenberg": (read_gutenberg, "public domain"),
    "tinyshakespeare": (read_tinyshakespeare, "public domain"),
    "inaugural": (read_speeches, "public domain"),
    "state_union": (read_speeches, "public domain"),
}
# fmt: on


def write_documents(path: Path, documents: Iterable[Document]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for document in documents:
            file.write(json.dumps(document, ensure_ascii=False) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description="Convert novels, plays and speeches.")
    parser.add_argument("data", type=Path, metavar="DATA_FOLDER")
    parser.add_argument("out", type=Path, metavar="OUT_FOLDER")
    arguments = parser.parse_args()
    sources: dict[str, Any] = {}
    for name, (read, licence) in SETS.items():
        rows = list(read(arguments.data / name))
        sources[name] = {"licence": licence}
        for part in ("train", "dev"):
            documents = [document for where, document in rows if where == part]
            write_documents(arguments.out / part / f"{name}.jsonl", documents)
            n_characters = sum(len(document["text"]) for document in documents)
            sources[name][part] = {"documents": len(documents), "characters": n_characters}
            print(f"{name:<16} {part:<6}{len(documents):>6} documents {n_characters:>12,} chars")
    text = json.dumps(sources, indent=2, ensure_ascii=False) + "\n"
    (arguments.out / "sources.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
