"""The format `raw`: a file is one document, and comes out as it went in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import lmtool
from lmtool.formats.text import read_text


class RawReader(lmtool.Reader):
    """Reads a file as one document, its line ends and byte order mark included; its path is the id.

    txt leaves blank lines out, and with `whole_file` changes line ends.
    """

    name = "raw"
    suffixes = ()
    summary = "a document a file, with all that is in it"

    def read(
        self, source: lmtool.Source, options: lmtool.ReadOptions
    ) -> Iterator[lmtool.Document | lmtool.BadRecord]:
        """Yield the document of the file."""
        text = read_text(source, options)
        if isinstance(text, lmtool.BadRecord):
            yield text
        else:
            name = None if source.name.startswith("<") else source.name
            yield lmtool.Document(id=name, text=text)


class RawWriter(lmtool.Writer):
    """Writes the texts alone, one after another, and nothing between them."""

    name = "raw"
    suffixes = ()
    summary = "the texts alone as they are, with nothing between them"

    def encode(self, documents: Iterable[lmtool.Document]) -> bytes:
        """Return the texts."""
        return "".join(document.text for document in documents).encode()
