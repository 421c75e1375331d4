"""Text on its way to token files: read in blocks, split, tokenised, and never held as a whole.

FOLDER/tokenizer/     as transformers writes it
FOLDER/train.bin      token ids, uint16 or uint32; every text ends with the end token
FOLDER/dev.bin
FOLDER/tokens.json    how many there are, and of what (written last)
"""

from __future__ import annotations

import codecs
import hashlib
import io
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...bundles import sha256, write_record
from ...documents import Document
from ...errors import BundleError, DataError, UsageError
from ...formats.text import TxtReader
from ...inputs import FileSource, Input, expand_inputs
from ...sources import BadRecord, ReadOptions
from .tokenizers import text_encoder

RECORD_FILE: Final = "tokens.json"
BLOCK: Final = 8192
"""Characters that are split off, tokenised and held out as a whole; texts are cut at line ends."""
BATCH: Final = 1 << 20
"""Characters that are tokenised at once, on all cores."""
MOST_HELD_OUT: Final = 1 << 22
"""Characters that a share holds out at the most."""


class Block(NamedTuple):
    """A stretch of a text, and whether the text ends with it."""

    text: str
    is_last: bool


class Part(msgspec.Struct):
    """What a token file holds."""

    tokens: int = 0
    bytes: int = 0
    """Of the text, in UTF-8."""
    texts: int = 0


class TokenRecord(msgspec.Struct, kw_only=True):
    """tokens.json."""

    train: Part
    dev: Part
    dtype: str
    data: dict[str, str]
    """sha256 of the files, by name."""
    n_bad: int = 0
    """Records that could not be read and were left out."""


class Text:
    """The texts of some files, read anew each time, in constant memory.

    With `skip_bad` a record that cannot be read is counted in `n_bad`; else it raises DataError.
    """

    def __init__(
        self,
        files: Iterable[str],
        options: ReadOptions,
        input_format: str | None = None,
        *,
        skip_bad: bool = False,
    ) -> None:
        self._inputs: list[Input] = expand_inputs(list(files), input_format)
        self._options = options
        self._skip_bad = skip_bad
        self.n_bad = 0

    @property
    def size(self) -> int:
        """The bytes of the files as they are stored."""
        return sum(item.source.size or 0 for item in self._inputs)

    def hashes(self) -> dict[str, str]:
        """Return the sha256 of the files, by name, by the whole path where two have one name."""
        paths = [Path(i.source.name) for i in self._inputs if isinstance(i.source, FileSource)]
        names = [path.name for path in paths]
        return {str(p) if names.count(p.name) > 1 else p.name: sha256(p) for p in paths}

    def blocks(self) -> Iterator[Block]:
        """Yield the texts, cut into blocks of about BLOCK characters."""
        self.n_bad = 0
        for item in self._inputs:
            if self._options.whole_file and isinstance(item.reader, TxtReader):
                yield from self._stream(item)
                continue
            for record in item.reader.read(item.source, self._options):
                if isinstance(record, Document):
                    yield from cut(record.text)
                else:
                    self._refuse(record)

    def _stream(self, item: Input) -> Iterator[Block]:
        """Yield the blocks of a text file that is one text, however long."""
        before = ""
        try:
            with item.source.open() as file:
                for text in _pieces(file, self._options.encoding):
                    if before:
                        yield Block(before, is_last=False)
                    before = text
        except UnicodeDecodeError as error:
            reason = f"not {error.encoding}: byte 0x{error.object[error.start]:02x}"
            hint = "name the file's encoding with --encoding, for example latin-1"
            self._refuse(BadRecord(item.source.name, 0, reason, hint))
        except (DataError, OSError) as error:
            self._refuse(BadRecord(item.source.name, 0, str(error)))
        if before:
            yield Block(before, is_last=True)

    def _refuse(self, record: BadRecord) -> None:
        if not self._skip_bad:
            hint = record.hint or "mend the record, or leave it out with --skip-bad"
            raise DataError(record.message, hint=hint)
        self.n_bad += 1


def _pieces(file: BinaryIO, encoding: str) -> Iterator[str]:
    try:
        codecs.lookup(encoding)
    except LookupError:
        raise UsageError(f"--encoding {encoding}: no such encoding") from None
    is_first = True
    with io.TextIOWrapper(file, encoding, newline="") as lines:
        while text := lines.read(BLOCK):
            text = (text + lines.readline(BLOCK)).replace("\r\n", "\n")
            if is_first:
                text, is_first = text.removeprefix("\ufeff"), False
            yield text


def cut(text: str) -> Iterator[Block]:
    """Cut a text into blocks, at the last line end or else space of each, where there is one."""
    start = 0
    while len(text) - start > BLOCK:
        end = start + BLOCK
        for mark in ("\n", " "):
            found = text.rfind(mark, start + BLOCK // 2, start + BLOCK)
            if found >= 0:
                end = found + 1
                break
        yield Block(text[start:end], is_last=False)
        start = end
    if start or text.strip():
        yield Block(text[start:], is_last=True)


def place(text: str, seed: int) -> float:
    """Return a number from 0 to 1 that depends on a text and the seed alone."""
    digest = hashlib.blake2b(f"{seed}\n{text}".encode("utf-8", "surrogatepass"), digest_size=8)
    return int.from_bytes(digest.digest(), "little") / 2**64


def held_out(text: Text, share: float, seed: int) -> Callable[[str], bool]:
    """Return which blocks are held out: a share of them, at least one where there are two.

    The same block is always on the same side. Reads the text once, if the share is above 0.
    """
    if share <= 0:
        return lambda block: False
    places: list[float] = []  # the least two, of different blocks
    for block in text.blocks():
        found = place(block.text, seed)
        if found not in places:
            places = sorted([*places, found])[:2]
            if places[-1] < share and len(places) == 2:
                break
    least = places[0] if len(places) == 2 else -1.0
    bound = max(share, least)
    return lambda block: least >= 0 and place(block, seed) <= bound


class TokenWriter:
    """Writes a token file and counts what it is given."""

    def __init__(self, path: Path, tokenizer: Any, end: int, dtype: str) -> None:
        self.part = Part()
        self._file = path.open("wb")
        self._tokenizer = tokenizer
        self._end = end
        self._dtype = dtype
        self._waiting: list[Block] = []
        self._n_waiting = 0
        self._is_open = False

    def add(self, block: Block) -> None:
        """Take a block; what it is a part of goes on with the next one, unless it ends."""
        self._waiting.append(block)
        self._n_waiting += len(block.text)
        self._is_open = not block.is_last
        if self._n_waiting >= BATCH:
            self._flush()

    def end(self) -> None:
        """End the text under way, where there is one: the next block is of another."""
        if self._is_open:
            self._waiting[-1:] = [Block(self._waiting[-1].text, is_last=True)]
            self._is_open = False

    def close(self) -> Part:
        """Write what is left and return what the file holds."""
        self.end()
        self._flush(all_of_it=True)
        self._file.close()
        return self.part

    def _flush(self, *, all_of_it: bool = False) -> None:
        """Tokenise what waits; the last block stays while nobody knows whether it is the end."""
        kept = [] if all_of_it or not self._is_open else self._waiting[-1:]
        blocks = self._waiting[: len(self._waiting) - len(kept)]
        texts = [block.text for block in blocks]
        for block, found in zip(
            blocks, self._tokenizer.encode_batch_fast(texts, add_special_tokens=False), strict=True
        ):
            ids = [*found.ids, self._end] if block.is_last else found.ids
            np.asarray(ids, self._dtype).tofile(self._file)
            self.part.tokens += len(ids)
            self.part.bytes += len(block.text.encode("utf-8", "surrogatepass"))
            self.part.texts += block.is_last
        self._waiting, self._n_waiting = kept, sum(len(block.text) for block in kept)


def pack(
    folder: Path,
    tokenizer: Any,
    end: int,
    train: Text,
    dev: Text | None,
    is_held_out: Callable[[str], bool],
) -> TokenRecord:
    """Write the token files of a tokenizer of transformers; memory does not grow with the text.

    Special tokens that stand in a text are text. A block in the middle of a text that is held
    out ends the text before it. Raises DataError for records that cannot be read, and where no
    text is left to learn from.
    """
    encoder = text_encoder(tokenizer)
    dtype = "uint16" if len(tokenizer) <= 1 << 16 else "uint32"
    learnt = TokenWriter(folder / "train.bin", encoder, end, dtype)
    held = TokenWriter(folder / "dev.bin", encoder, end, dtype)
    n_held = 0
    known: set[str] = set()  # texts that are held out stay so where they come again
    for block in train.blocks():
        is_held = is_held_out(block.text) and (n_held < MOST_HELD_OUT or block.text in known)
        (learnt if is_held else held).end()
        (held if is_held else learnt).add(block)
        if is_held:
            known.add(block.text)
            n_held += len(block.text)
    for block in dev.blocks() if dev is not None else ():
        held.add(block)
    record = TokenRecord(
        train=learnt.close(),
        dev=held.close(),
        dtype=dtype,
        data=train.hashes(),
        n_bad=train.n_bad + (dev.n_bad if dev is not None else 0),
    )
    if not record.train.tokens:
        raise DataError("there is no text to learn from", hint="see lmtool data check")
    write_record(folder / RECORD_FILE, record)
    return record


def read_tokens(folder: Path) -> tuple[TokenRecord, NDArray[Any], NDArray[Any]]:
    """Return the record and the tokens to learn from and held out, mapped into memory.

    Raises BundleError when the files are missing, or not those that the record tells of.
    """
    try:
        record = msgspec.json.decode((folder / RECORD_FILE).read_bytes(), type=TokenRecord)
        parts = [
            _mapped(folder / f"{name}.bin", part.tokens, record.dtype)
            for name, part in (("train", record.train), ("dev", record.dev))
        ]
    except (OSError, ValueError, msgspec.DecodeError) as error:
        raise BundleError(
            f"{folder}: damaged token files: {error}", hint="start anew with another --out"
        ) from error
    return record, parts[0], parts[1]


def _mapped(path: Path, n_tokens: int, dtype: str) -> NDArray[Any]:
    if path.stat().st_size != n_tokens * np.dtype(dtype).itemsize:
        raise ValueError(f"{path.name} does not hold {n_tokens:,} tokens")
    return np.memmap(path, dtype, "r") if n_tokens else np.zeros(0, dtype)
