"""What `lmtool redact` masks and misses: planted identifiers, and the names of dev sets.

    python benchmarks/redact.py FILE… [--model NAME] [--each N]

FILE are documents with gold entities PER, ORG, LOC, as recipes/entities-en/prepare.py wrote them
(NAME.dev.jsonl). Identifiers made by rule, and decoys that look alike (dates, prices, ISBNs,
versions, numbers with wrong check digits), are put between the words of these texts, one in each,
with a word before it that says what it is or without. The same seed plants the same.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from lmtool_redact.keys import read_key
from lmtool_redact.patterns import IBAN_LENGTHS, find, passes_luhn, passes_mod97
from machine import describe

import lmtool

NAMES = ("PER", "ORG", "LOC")
Maker = Callable[[random.Random], str]
Span = tuple[int, int, str]


class Planted(NamedTuple):
    """A text with an identifier, or a decoy, in it."""

    text: str
    start: int
    end: int
    form: str  # "PHONE national", "decoy date"

    @property
    def kind(self) -> str:
        return self.form.split()[0]


# ── identifiers made by rule ─────────────────────────────────────────────────────────────────


def digits(rng: random.Random, form: str) -> str:
    """Return the form with a digit for each #, 2-9 for each N."""
    return "".join(
        rng.choice("0123456789") if c == "#" else rng.choice("23456789") if c == "N" else c
        for c in form
    )


def card(rng: random.Random, form: str, *, is_right: bool = True) -> str:
    """Return a number of this form whose last digit is the check digit, or is not."""
    while True:
        number = digits(rng, form)
        if passes_luhn("".join(c for c in number if c.isdigit())) is is_right:
            return number


def iban(rng: random.Random, *, is_grouped: bool, is_right: bool = True) -> str:
    """Return an IBAN of some country."""
    country = rng.choice(sorted(IBAN_LENGTHS))
    account = digits(rng, "#" * (IBAN_LENGTHS[country] - 4))
    number = next(
        f"{country}{check:02d}{account}"
        for check in range(2, 99)
        if passes_mod97(f"{country}{check:02d}{account}")
    )
    if not is_right:
        number = number[:-1] + str((int(number[-1]) + 1) % 10)
    size = 4 if is_grouped else len(number)
    return " ".join(number[i : i + size] for i in range(0, len(number), size))


FIRST = "anna jose li maria john olga yusuf emma k.brown t_lee info sales d.o.brien x99".split()
HOSTS = "example.com mail.example.org uni-muenster.de company.co.uk gov.cn start-up.io".split()
CARDS = ["4### #### #### ####", "55##-####-####-####"]
PATHS = "/ /a/b.html /news?id=7&x=1 /~anna /w/Page_(x) /path#part".split()


def host(rng: random.Random) -> str:
    return rng.choice(HOSTS)


def mail(rng: random.Random) -> str:
    return f"{rng.choice(FIRST)}{rng.choice(['', '1', '+x', '.b'])}@{host(rng)}"


def form(*forms: str) -> Maker:
    return lambda rng: digits(rng, rng.choice(forms))


MAKERS: dict[str, Maker] = {
    "EMAIL plain": mail,
    "EMAIL capitals": lambda rng: mail(rng).title(),
    "EMAIL obfuscated": lambda rng: mail(rng).replace("@", " [at] "),
    "URL protocol": lambda rng: f"https://{host(rng)}{rng.choice(PATHS)}",
    "URL www": lambda rng: f"www.{host(rng)}{rng.choice(['', '/x'])}",
    "URL host/path": lambda rng: f"{host(rng)}/{rng.choice('abc')}",
    "URL bare .com": lambda rng: f"{rng.choice('acme globex initech'.split())}.com",
    "URL bare other": lambda rng: f"{rng.choice('acme globex initech'.split())}.io",
    "PHONE +": form("+44 20 #### ####", "+1 NN# NN# ####", "+49 30 #######", "+33 1 ## ## ## ##"),
    "PHONE + joined": form("+4915#########", "+1NN#NN#####", "+8613#########"),
    "PHONE US": form("(N##) N##-####", "N##-N##-####", "N##.N##.####", "1-N##-N##-####"),
    "PHONE trunk 0": form("020 #### ####", "07### ######", "0171/#######", "01 ## ## ## ##"),
    "PHONE China": form("13#########", "138 #### ####", "159-####-####"),
    "PHONE 7 digits": form("N##-####"),
    "PHONE 10 joined": form("N##N######"),
    "CARD joined": lambda rng: card(rng, rng.choice(["4" + "#" * 15, "51" + "#" * 14])),
    "CARD groups": lambda rng: card(rng, rng.choice(CARDS)),
    "CARD Amex": lambda rng: card(rng, rng.choice(["34## ###### #####", "37#############"])),
    "ACCOUNT IBAN": lambda rng: iban(rng, is_grouped=False),
    "ACCOUNT IBAN groups": lambda rng: iban(rng, is_grouped=True),
    "ACCOUNT number": form("########", "##########", "####-####-##"),
    "IP 4": lambda rng: ".".join(str(rng.randrange(1, 255)) for _ in range(4)),
    "IP 6": lambda rng: ":".join(f"{rng.randrange(4096, 65536):x}" for _ in range(8)),
    "IP 6 short": lambda rng: f"2001:db8::{rng.randrange(4096):x}:{rng.randrange(1, 4096):x}",
    "decoy date": form("20##-0N-1#", "1#.0N.20##", "0N/1#/20##", "1N May 19##", "1# 1# 20##"),
    "decoy time": form("1#:1N", "1#:2N:3N", "20##-0N-1#T1#:1N:00Z"),
    "decoy years": form("19##-20##", "19## 19## 20##", "the 19##s"),
    "decoy price": form("$N,###.##", "€ N#.###.###", "NN,###,###", "N ### ###", "£N##.##"),
    "decoy ISBN": form("978-0-###-#####-#", "ISBN 0-###-#####-#", "978###########"),
    "decoy version": form("v1.#.#.#", "version N.#.1.0", "N.1#.#", "9N.0.4###.1##"),
    "decoy number": form("N#######", "N.########", "N## ###", "#N/1##", "N#:N#", "1#-1#"),
    "decoy card": lambda rng: card(rng, "4### #### #### ####", is_right=False),
    "decoy IBAN": lambda rng: iban(rng, is_grouped=True, is_right=False),
    "decoy code": form("A-####-##", "No. ####", "#N-NN", "NGC ####", "B####### C"),
}  # fmt: skip
WORDS = {
    "EMAIL": ["mail:", "write to"], "URL": ["see", "at"], "PHONE": ["call", "Tel.", "phone:"],
    "CARD": ["card", "Visa no."], "ACCOUNT": ["account number", "IBAN:"], "IP": ["host", "from"],
    "decoy": ["on", "about"],
}  # fmt: skip


def plant(texts: Sequence[str], each: int) -> list[Planted]:
    """Return texts with an identifier each: `each` of every form with a word before, and without.

    It stands between two words, so that nothing else of the text changes.
    """
    rng = random.Random(5)
    planted = []
    for name, make in MAKERS.items():
        for number in range(2 * each):
            words = rng.choice(texts).split(" ")
            at = rng.randrange(len(words) + 1)
            before = [*words[:at], *([rng.choice(WORDS[name.split()[0]])] * (number % 2))]
            prefix = "".join(f"{word} " for word in before)
            made = make(rng)
            close = rng.choice(["", "", ",", "."])
            text = " ".join([prefix + made + close, *words[at:]])
            with_word = f"{name}{', said' if number % 2 else ''}"
            planted.append(Planted(text, len(prefix), len(prefix) + len(made), with_word))
    return planted


def print_planted(texts: Sequence[str], each: int) -> None:
    """Print recall by form, and precision by kind."""
    hits, wanted, right, found = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    wrong: list[str] = []
    for one in plant(texts, each):
        wanted[one.form] += 1
        spans = [s for s in find(one.text) if s.start < one.end and one.start < s.end]
        covered = sum(min(s.end, one.end) - max(s.start, one.start) for s in spans)
        visible = [c for c in one.text[one.start : one.end] if c.isalnum()]
        is_hit = covered >= len(visible) and len(spans) == 1
        hits[one.form] += bool(spans) if one.kind == "decoy" else is_hit
        for span in spans:
            found[span.kind] += 1
            right[span.kind] += span.kind == one.kind
            if one.kind == "decoy":
                wrong.append(f"{span.kind} {one.text[span.start : span.end]!r}")
    print("\n| planted | with a word before it, masked | without | \n|---|---:|---:|")
    for name in MAKERS:
        said, bare = (100 * hits[key] / wanted[key] for key in (f"{name}, said", name))
        print(f"| {name} | {said:.1f} % | {bare:.1f} % |")
    print("\n| kind | recall | precision |\n|---|---:|---:|")
    for kind in ("EMAIL", "URL", "PHONE", "CARD", "ACCOUNT", "IP"):
        forms = [key for key in wanted if key.startswith(kind)]
        recall = 100 * sum(hits[f] for f in forms) / sum(wanted[f] for f in forms)
        print(f"| {kind} | {recall:.1f} | {100 * right[kind] / max(found[kind], 1):.1f} |")
    print("\ndecoys that were masked, for example:", "; ".join(sorted(set(wrong))[:12]) or "none")


def print_own(texts: Sequence[str]) -> None:
    """Print what the patterns find in the texts as they are: true or false, to be looked at."""
    counts, samples = Counter[str](), dict[str, list[str]]()
    began = time.process_time()
    for text in texts:
        for span in find(text):
            counts[span.kind] += 1
            samples.setdefault(span.kind, []).append(text[span.start : span.end])
    rate = sum(map(len, texts)) / (time.process_time() - began) / 1e6
    print(f"\nin {len(texts):,} texts as they are ({rate:.2f} M characters/s):")
    for kind, count in counts.most_common():
        print(f"  {kind} {count}: {'; '.join(samples[kind][:5])}")


# ── names ────────────────────────────────────────────────────────────────────────────────────


def masked_spans(documents: Sequence[lmtool.Document], model_name: str | None) -> list[list[Span]]:
    """Return what redact masks in each text, with offsets in the text as it was."""
    with tempfile.TemporaryDirectory() as folder:
        key = Path(folder) / "key.json"
        model = lmtool.load(model_name, task_name="redact", device="cpu", key=key)
        bare = [lmtool.Document(text=document.text) for document in documents]
        masked = list(model.pipe(bare))
        content = read_key(key)
    entries = content.masks if content else {}
    rows = []
    for document in masked:
        shift, row = 0, []
        for span in document.layer("redactions"):
            original = entries[span["text"]].text
            row.append((span["start"] + shift, span["start"] + shift + len(original), span["kind"]))
            shift += len(original) - len(span["text"])
        rows.append(row)
    return rows


def print_names(files: Sequence[str], model_name: str | None) -> None:
    """Print for each file which gold names are masked, and which name masks cover gold."""
    print("\n| texts | PER masked | ORG | LOC | whole or in part | masks that cover a name |")
    print("|---|---:|---:|---:|---:|---:|")
    for file in files:
        documents = [d for d in lmtool.read_documents([file]) if isinstance(d, lmtool.Document)]
        wanted, whole, part = Counter[str](), Counter[str](), 0
        n_masks = n_right = 0
        for document, spans in zip(documents, masked_spans(documents, model_name), strict=True):
            gold = document.entities or []
            covered = {at for start, end, _ in spans for at in range(start, end)}
            for entity in gold:
                at = [i for i in range(entity.start, entity.end) if document.text[i].isalnum()]
                if entity.label in NAMES and at:
                    wanted[entity.label] += 1
                    whole[entity.label] += covered.issuperset(at)
                    part += bool(covered.intersection(at))
            for start, end, kind in spans:
                if kind in NAMES:
                    n_masks += 1
                    n_right += any(e.start < end and start < e.end for e in gold)
        shares = [f"{100 * whole[n] / wanted[n]:.1f}" if wanted[n] else "–" for n in NAMES]
        in_part = 100 * part / max(sum(wanted.values()), 1)
        name = Path(file).name.split(".")[0]
        precision = 100 * n_right / max(n_masks, 1)
        print(f"| {name} | {' | '.join(shares)} | {in_part:.1f} | {precision:.1f} |", flush=True)


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("files", nargs="+")
    parser.add_argument("--model", help="a model of extract (default: the one that ships)")
    parser.add_argument("--each", type=int, default=100, help="texts of each form, twice")
    arguments = parser.parse_args()
    print(describe("onnxruntime"))
    records = list(lmtool.read_documents(arguments.files))
    texts = [d.text for d in records if isinstance(d, lmtool.Document) and len(d.text) < 1000]
    print_planted(texts, arguments.each)
    print_own(texts)
    print_names(arguments.files, arguments.model)


if __name__ == "__main__":
    main()
