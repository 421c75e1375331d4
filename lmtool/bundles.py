"""Bundles: the folders that run. Written under a temporary name, read with their hashes checked.

NAME/bundle.json          what it is (written last: a folder that has one is complete)
NAME/*.onnx               the graphs of the task's head
NAME/README.md            the model card
NAME/backbone/            the backbone, or nothing where another bundle holds it:
    backbone.json         its hash, signature and encoding
    backbone.onnx, tokenizer.json

A bundle of a language model (kind "language") has no head and no backbone: beside bundle.json
lie the files of onnxruntime-genai, genai_config.json, model.onnx and its data, tokenizer.json.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

import msgspec

from .errors import BundleError, UsageError
from .signature import Signature

if TYPE_CHECKING:
    from .windows import Encoding

FORMAT: Final = 1
RECORD_FILE: Final = "bundle.json"
_BACKBONE_FILES: Final = ("backbone.onnx", "tokenizer.json")
_LANGUAGE_FILES: Final = ("genai_config.json", "model.onnx", "tokenizer.json")
_MEND: Final = "export or install the bundle again"
T = TypeVar("T", bound=msgspec.Struct)


class Versions(msgspec.Struct, frozen=True):
    """What made a bundle: versions of lmtool, torch and so on, and of the data."""

    code: dict[str, str] = {}
    data: dict[str, str] = {}


class BackboneInfo(msgspec.Struct, frozen=True, kw_only=True):
    """backbone.json. `hash` names the backbone: the sha256 over the hashes of its files."""

    format: int = FORMAT
    hash: str
    precision: str
    hidden_size: int
    signature: Signature
    encoding: dict[str, Any]
    files: dict[str, str]
    """sha256 by file name."""


class GraphInfo(msgspec.Struct, frozen=True):
    """A head's graph: its file and signature."""

    file: str
    signature: Signature


class BundleInfo(msgspec.Struct, frozen=True, kw_only=True):
    """bundle.json."""

    format: int = FORMAT
    name: str
    task: str
    kind: str = "encoder"
    labels: dict[str, list[str]]
    form: dict[str, Any] = {}
    """What else decides the head's form and how its outputs are read, as its task says."""
    options: dict[str, Any] = {}
    graphs: dict[str, GraphInfo]
    backbone: str
    """The hash of the backbone, here or in another bundle."""
    files: dict[str, str]
    """sha256 by file name, of the bundle's own files."""
    licence: str = ""
    versions: Versions = Versions()
    metrics: dict[str, Any] = {}
    """The scores on the dev set before ("fp32") and after ("int8") quantization."""


class LanguageInfo(msgspec.Struct, frozen=True, kw_only=True):
    """bundle.json of a language model."""

    format: int = FORMAT
    name: str
    task: str
    """What it was tuned for: generate, chat or translate."""
    kind: Literal["language"] = "language"
    tasks: list[str]
    """The tasks that it can be used for."""
    form: dict[str, Any] = {}
    """How a task puts its prompts to this model: {"prompt": "{text}", "from": "en", …}."""
    options: dict[str, Any] = {}
    """Defaults of the task's options and of Sampling."""
    context: int
    """The most tokens of prompt and completion together."""
    precision: str
    files: dict[str, str]
    """sha256 by file name."""
    licence: str = ""
    versions: Versions = Versions()
    metrics: dict[str, Any] = {}
    """Perplexity and size by precision."""


class _Kind(msgspec.Struct):
    """What tells the record of one kind from another's."""

    kind: str = "encoder"


class Bundle(msgspec.Struct, frozen=True):
    """A bundle that was found and checked: its folder, the backbone's folder, both records."""

    folder: Path
    info: BundleInfo
    backbone_folder: Path
    backbone: BackboneInfo

    @property
    def encoding(self) -> Encoding:
        """How texts become windows for this backbone."""
        from .windows import Encoding

        try:
            return msgspec.convert(self.backbone.encoding, Encoding)
        except msgspec.ValidationError as error:
            path = self.backbone_folder / "backbone.json"
            raise BundleError(f"{path}: encoding: {error}", hint=_MEND) from error

    def problems(self) -> Iterator[str]:
        """Yield what is wrong with the files: missing, changed, not accounted for."""
        for name, graph in self.info.graphs.items():
            if graph.file not in self.info.files:
                path = self.folder / "bundle.json"
                yield f"{path}: the file of the graph {name!r}, {graph.file}, has no sha256"
        path = self.backbone_folder / "backbone.json"
        for file in _BACKBONE_FILES:
            if file not in self.backbone.files:
                yield f"{path}: {file} has no sha256"
        if backbone_hash(self.backbone.files) != self.backbone.hash:
            yield f"{path}: its hash is not that of its files"
        yield from problems(self.folder, self.info.files)
        yield from problems(self.backbone_folder, self.backbone.files)


class LanguageBundle(msgspec.Struct, frozen=True):
    """A bundle of a language model that was found and checked."""

    folder: Path
    info: LanguageInfo

    @property
    def identity(self) -> str:
        """Its name and a hash over its files."""
        digest = hashlib.sha256(msgspec.json.encode(self.info.files))
        return f"{self.info.name} {digest.hexdigest()[:16]}"

    def problems(self) -> Iterator[str]:
        """Yield what is wrong with the files: missing, changed, not accounted for."""
        for path in sorted(self.folder.rglob("*")):
            name = path.relative_to(self.folder).as_posix()
            if path.is_file() and name != RECORD_FILE and name not in self.info.files:
                yield f"{path}: has no sha256 in {RECORD_FILE}"
        for name in _LANGUAGE_FILES:
            if name not in self.info.files:
                yield f"{self.folder / RECORD_FILE}: {name} has no sha256"
        yield from problems(self.folder, self.info.files)


def models_folder() -> Path:
    """Return where the user's bundles live: LMTOOL_MODELS, or the XDG data folder."""
    if folder := os.environ.get("LMTOOL_MODELS"):
        return Path(folder)
    import platformdirs

    return Path(platformdirs.user_data_path("lmtool")) / "models"


def installed_bundles() -> dict[str, Path]:
    """Return the bundles of the user's folder and of the loaded plugins, by name."""
    from .plugins import registry

    found = dict(registry().bundles())
    folder = models_folder()
    if folder.is_dir():
        found |= {p.parent.name: p.parent for p in sorted(folder.glob("*/bundle.json"))}
    return found


def _way_to_a_bundle(folder: Path) -> str:
    """Return what makes a bundle of a folder that is none."""
    if any((folder / name).is_file() for name in ("checkpoint.json", "language.json")):
        return f"lmtool export {folder} -o FOLDER makes one of this checkpoint"
    if (folder / "config.json").is_file():
        return f"lmtool models import {folder} makes one of a decoder of Hugging Face"
    return "a bundle is a folder that lmtool export wrote"


def find_bundle(ref: str | Path) -> Path:
    """Return the folder of a bundle, given as a folder or a name.

    Names are looked up in the user's folder, then among lmtool's own, then in all plugins.
    """
    folder = Path(ref)
    if (folder / "bundle.json").is_file():
        return folder
    name = str(ref)
    if "/" in name or name.startswith("."):
        reason = "no bundle.json in it" if folder.is_dir() else "no such folder"
        raise BundleError(f"{ref}: {reason}", hint=_way_to_a_bundle(folder))
    from .plugins import registry

    for load in (registry().load_own, registry().load_all):
        if path := installed_bundles().get(name):
            return path
        load()
    if path := installed_bundles().get(name):
        return path
    if path := registry().first("lmtool_resolve_bundle", ref=name):
        return Path(path)
    raise BundleError(
        f"no model {name!r}",
        hint=f"there are: {', '.join(sorted(installed_bundles())) or 'none'} (lmtool models list)",
    )


def load_bundle(ref: str | Path, *, verify: bool = True) -> Bundle | LanguageBundle:
    """Find a bundle of any kind, with its backbone where it has one; check format and hashes.

    Raises BundleError when a file is missing, changed, not accounted for or of a newer format, or
    lies outside the folder. (Weights that a graph wants from outside its folder are refused by
    ONNX Runtime, when the graph is opened.)
    """
    folder = find_bundle(ref)
    bundle: Bundle | LanguageBundle
    path = folder / RECORD_FILE
    if read_record(path, _Kind).kind == "language":
        bundle = LanguageBundle(folder, read_record(path, LanguageInfo))
    else:
        info = read_record(path, BundleInfo)
        bundle = Bundle(folder, info, *_find_backbone(folder, info.backbone))
    if verify:
        for problem in bundle.problems():
            raise BundleError(problem, hint=_MEND)
    return bundle


def load_encoder_bundle(ref: str | Path, *, verify: bool = True) -> Bundle:
    """Load a bundle that has a backbone; BundleError for a language model, which has none."""
    bundle = load_bundle(ref, verify=verify)
    if isinstance(bundle, LanguageBundle):
        raise BundleError(
            f"{ref}: a language model, which has no backbone that heads could share",
            hint=f"run it with lmtool {bundle.info.task}",
        )
    return bundle


def load_language_bundle(ref: str | Path, *, verify: bool = True) -> LanguageBundle:
    """Load a bundle of a language model; BundleError for one of another kind."""
    bundle = load_bundle(ref, verify=verify)
    if not isinstance(bundle, LanguageBundle):
        raise BundleError(
            f"{ref}: no language model, but one for the task {bundle.info.task!r}",
            hint="lmtool models list shows which model is for what",
        )
    return bundle


def read_backbone(folder: Path) -> BackboneInfo:
    """Read the backbone.json of a folder; BundleError when it is missing or damaged."""
    return read_record(folder / "backbone.json", BackboneInfo, what="backbone")


def problems(folder: Path, files: dict[str, str]) -> Iterator[str]:
    """Yield what is wrong with the files of a folder, given their sha256 by name."""
    for name, digest in files.items():
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()):
            yield f"{path}: leads out of the bundle"
        elif not path.is_file():
            yield f"{path}: missing"
        elif sha256(path) != digest:
            yield f"{path}: changed since it was written (sha256 differs)"


def sha256(path: Path) -> str:
    """Return the sha256 of a file in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def backbone_hash(files: dict[str, str]) -> str:
    """Return the name of a backbone: a hash over the names and hashes of its files."""
    lines = "".join(f"{name} {files[name]}\n" for name in sorted(files))
    return hashlib.sha256(lines.encode()).hexdigest()


@contextlib.contextmanager
def writing(folder: Path, *, replace: bool = False, record: str = RECORD_FILE) -> Iterator[Path]:
    """Give a temporary folder beside `folder` that takes its place when the block succeeds.

    What is there stays when the block fails. With `replace` it may be an empty folder or one
    that holds the file `record`: anything else, which we did not write, is a UsageError.
    """
    if folder.exists() and not replace:
        raise UsageError(f"{folder} exists", hint="choose another folder, or --overwrite")
    is_ours = (folder / record).is_file() or (folder.is_dir() and not any(folder.iterdir()))
    if folder.exists() and not is_ours:
        raise UsageError(
            f"{folder}: not replaced, there is no {record} in it", hint="choose another folder"
        )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written: {error.strerror}") from error
    try:
        yield temporary
        temporary.chmod(0o755)
        if folder.exists():
            old = temporary.with_name(temporary.name + ".old")
            folder.rename(old)
            try:
                temporary.rename(folder)
            except BaseException:
                old.rename(folder)
                raise
            shutil.rmtree(old, ignore_errors=True)
        else:
            temporary.rename(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def read_record(
    path: Path, kind: type[T], format: int = FORMAT, *, what: str = "bundle", hint: str = _MEND
) -> T:
    """Read a record of this format.

    Raises BundleError, which says `what` is missing or damaged and the hint, or that only a newer
    lmtool reads it.
    """
    try:
        data = path.read_bytes()
        found = msgspec.json.decode(data, type=dict[str, Any]).get("format")
        if found != format:
            is_newer = isinstance(found, int) and found > format
            raise BundleError(
                f"{path}: format {found!r}, this lmtool reads {format}",
                hint="pip install --upgrade lmtool" if is_newer else hint,
            )
        return msgspec.json.decode(data, type=kind)
    except OSError as error:
        raise BundleError(f"{path.parent}: no {what}: {error.strerror}", hint=hint) from error
    except msgspec.DecodeError as error:
        raise BundleError(f"{path}: damaged: {error}", hint=hint) from error


def write_record(path: Path, record: msgspec.Struct) -> None:
    """Write a record as readable JSON."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n")


def _find_backbone(folder: Path, digest: str) -> tuple[Path, BackboneInfo]:
    """Find the backbone with this hash: in the bundle, beside it, or in any installed bundle."""
    from .plugins import registry

    def candidates() -> Iterator[Path]:
        yield folder
        yield from sorted(folder.parent.iterdir())
        yield from installed_bundles().values()
        registry().load_own()
        registry().load_all()
        yield from installed_bundles().values()

    damage: BundleError | None = None
    for candidate in candidates():
        path = candidate / "backbone" / "backbone.json"
        if path.is_file():
            try:
                info = read_backbone(path.parent)
            except BundleError as error:  # another bundle's matters only to that one
                damage = error if candidate == folder else damage
                continue
            if info.hash == digest:
                return path.parent, info
    raise damage or BundleError(
        f"{folder}: its backbone {digest[:12]} is in no installed bundle",
        hint="install the bundle that it shares the backbone with, or export with the backbone",
    )
