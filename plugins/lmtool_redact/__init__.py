"""Redaction: names and identifiers masked, and put back with a key, as a plugin of lmtool."""

from __future__ import annotations

import lmtool


@lmtool.hookimpl
def lmtool_register_tasks() -> list[type[lmtool.EncoderTask]]:
    """Return the task behind `lmtool redact`."""
    from .task import RedactTask

    return [RedactTask]


@lmtool.hookimpl
def lmtool_register_readers() -> list[type[lmtool.Reader]]:
    """Return the reader of files that are to come back as they were."""
    from .files import RawReader

    return [RawReader]


@lmtool.hookimpl
def lmtool_register_writers() -> list[type[lmtool.Writer]]:
    """Return the writer of such files."""
    from .files import RawWriter

    return [RawWriter]
