"""What the script `lmtool` calls."""

from __future__ import annotations

import signal


def main() -> None:
    """Run the command line; an interrupt while it is loaded ends the process without a word."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from .main import main as run

    run()
