"""The errors of the library.

LmtoolError
├── UsageError     a wrong option, an output that cannot be written     exit code 2
├── DataError      an input record that cannot be read or trained on    exit code 3
├── BundleError    a model that is missing, damaged or too new          exit code 4
├── PluginError    a plugin that fails to load or breaks the contract   exit code 5
└── NegativeResult nothing found, a gate not passed                     exit code 1

The library raises, the command line alone prints and exits.
"""


class LmtoolError(Exception):
    """An error with a message (what and where) and a hint (what mends it)."""

    exit_code = 2

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class UsageError(LmtoolError):
    """An option, a path or a combination of them that cannot work."""


class DataError(LmtoolError):
    """An input record that cannot be used; the message names file and line."""

    exit_code = 3


class BundleError(LmtoolError):
    """A bundle or checkpoint that is missing, damaged or of an unknown format."""

    exit_code = 4


class PluginError(LmtoolError):
    """A plugin that cannot be loaded, clashes with another or breaks the contract."""

    exit_code = 5


class NegativeResult(LmtoolError):
    """A command that worked and whose answer is no: not found, or a gate not passed."""

    exit_code = 1
