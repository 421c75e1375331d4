"""How documents look to a reader: first plain data, blocks, then text, colours, or a page.

Document ─view→ Block* (a passage with marks and frames, relations, cards, classes, notes)
         ─render→ "[Tim Cook PER] met …", or coloured, or ─section→ HTML
"""

from __future__ import annotations

from .blocks import VIEWS as VIEWS
from .blocks import Bar as Bar
from .blocks import Block as Block
from .blocks import Card as Card
from .blocks import Classes as Classes
from .blocks import Extract as Extract
from .blocks import Frame as Frame
from .blocks import Link as Link
from .blocks import Links as Links
from .blocks import Mark as Mark
from .blocks import Note as Note
from .blocks import Passage as Passage
from .blocks import Turns as Turns
from .blocks import view as view
from .marked import clean as clean
from .page import HtmlWriter as HtmlWriter
from .page import fragment as fragment
from .text import TextWriter as TextWriter
from .text import render as render
