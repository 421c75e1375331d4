"""Ready bundles from a hub that speaks the protocol of Hugging Face's.

A pull fetches what bundle.json lists, and nothing else of the repository, into a folder `.pull`
beside the models; what came is checked against the hashes of bundle.json, and only then the folder
gets its name. A connection that breaks goes on where it was; a pull that was stopped keeps the
files that are whole. Nothing is fetched but by `pull_models`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

import msgspec

from . import __version__
from .bundles import RECORD_FILE, load_bundle, models_folder, sha256, writing
from .errors import BundleError, LmtoolError, UsageError

STAGING: Final = ".pull"
"""The folder beside the models in which a pull is under way."""
_GOES_ON: Final = "the same command goes on with what has come"
_NEEDS_NO_HUB: Final = "a folder with the model on this machine needs no hub"
_BACKBONE: Final = "backbone"
_BACKBONE_RECORD: Final = f"{_BACKBONE}/backbone.json"


class _Record(msgspec.Struct):
    """What a pull reads of a bundle.json or a backbone.json."""

    files: dict[str, str]
    """sha256 by file name."""


def pull_models(
    ref: str,
    *,
    revision: str | None = None,
    to: Path | None = None,
    overwrite: bool = False,
    show_progress: bool = False,
) -> list[Path]:
    """Fetch the bundle of a repository, OWNER/NAME, or all that its folders hold; return them.

    OWNER/NAME/FOLDER is one of them. `revision` is a branch, a tag or a commit. A bundle gets the
    name of its repository or folder among the user's models, or becomes the folder `to`. One that
    is there already as it should be is left alone.

    The hub is that of HF_ENDPOINT, a token that of HF_TOKEN or of `hf auth login`. Raises
    BundleError when the hub, the repository or a file of it cannot be had, or is damaged (then
    nothing is visible); UsageError when a folder of the name exists and `overwrite` is not set.
    """
    _need_hub()
    repository, folder = _split(ref)
    with _plain_errors(repository), _bars(show_progress):
        source = _Repository.find(repository, revision)
        folders = [folder] if folder else source.bundles()
        if to is not None and len(folders) > 1:
            raise UsageError(
                f"{repository} holds {len(folders)} models, and --to names one folder",
                hint=f"pull one: {repository}/{folders[0]}",
            )
        found = []
        for name in folders:
            target = to or models_folder() / (PurePosixPath(name).name or source.name)
            found.append(_pull(source, name, target, overwrite=overwrite))
        return found


def fetch_files(repository: str, choose: Callable[[Iterable[str]], list[str]]) -> Path:
    """Fetch files at the top of a repository into huggingface_hub's cache; return their folder.

    `choose` gets the names of all files and returns those to fetch, at least one. Where the hub
    cannot be reached, what was fetched before is taken. Raises as `pull_models` does.
    """
    _need_hub()
    from huggingface_hub import hf_hub_download

    with _bars(False):
        try:
            with _plain_errors(repository, _NEEDS_NO_HUB):
                source = _Repository.find(repository, None)
        except _Unreachable:
            if (fetched := _fetched_before(repository, choose)) is None:
                raise
            return fetched
        with _plain_errors(repository, _NEEDS_NO_HUB):
            paths = [
                hf_hub_download(
                    repository, name, revision=source.commit, endpoint=_endpoint(),
                    library_name="lmtool", library_version=__version__,
                )
                for name in choose(sorted(source.files))
            ]  # fmt: skip
            return Path(paths[0]).parent


def _fetched_before(repository: str, choose: Callable[[Iterable[str]], list[str]]) -> Path | None:
    """Return the newest folder of huggingface_hub's cache that `choose` can choose from."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    name = repo_folder_name(repo_id=repository, repo_type="model")
    folders = Path(constants.HF_HUB_CACHE, name, "snapshots").glob("*")
    for folder in sorted(folders, key=lambda path: path.stat().st_mtime, reverse=True):
        with contextlib.suppress(UsageError):
            choose(sorted(path.name for path in folder.iterdir()))
            return folder
    return None


def _need_hub() -> None:
    if importlib.util.find_spec("huggingface_hub") is None:
        raise UsageError(
            "pulling a model needs huggingface_hub, which a plain installation leaves out",
            hint='pip install "lmtool[hub]"',
        )


@dataclass(frozen=True, slots=True)
class _Repository:
    """A repository of a hub at one commit."""

    id: str
    commit: str
    files: frozenset[str]

    @classmethod
    def find(cls, name: str, revision: str | None) -> _Repository:
        """Ask the hub for the commit of a revision and its files."""
        from huggingface_hub import HfApi

        api = HfApi(endpoint=_endpoint(), library_name="lmtool", library_version=__version__)
        info = api.model_info(name, revision=revision)
        return cls(name, str(info.sha), frozenset(f.rfilename for f in info.siblings or ()))

    @property
    def name(self) -> str:
        """The last part of its name."""
        return self.id.rpartition("/")[2]

    def bundles(self) -> list[str]:
        """Return the folder of its bundle, "", or of its bundles, those with a backbone first."""
        if RECORD_FILE in self.files:
            return [""]
        paths = [PurePosixPath(name) for name in self.files]
        found = {str(p.parent) for p in paths if p.name == RECORD_FILE and len(p.parts) == 2}
        if not found:
            raise BundleError(
                f"{self.id}: no model of lmtool, there is no {RECORD_FILE} in it",
                hint="lmtool models import makes one of a language model of transformers",
            )
        return sorted(found, key=lambda f: (f"{f}/{_BACKBONE_RECORD}" not in self.files, f))

    def fetch(self, name: str, staging: Path, *, again: bool = False) -> Path:
        """Fetch a file; one that is there, of this commit, is not fetched again."""
        from huggingface_hub import hf_hub_download

        if name not in self.files:
            raise BundleError(
                f"{self.id}: {name} is missing",
                hint="its owner has to publish the whole folder of the model",
            )
        path = hf_hub_download(
            self.id, name, revision=self.commit, local_dir=staging, endpoint=_endpoint(),
            force_download=again, library_name="lmtool", library_version=__version__,
        )  # fmt: skip
        return Path(path)


def _pull(source: _Repository, folder: str, target: Path, *, overwrite: bool) -> Path:
    """Fetch one bundle and make it visible when it is whole."""
    staging = target.parent / STAGING / f"{source.id.replace('/', '--')}-{source.commit[:12]}"
    record = source.fetch(_join(folder, RECORD_FILE), staging)
    if target.exists() and not overwrite:
        is_same = _is_same(target, record)
        _remove(staging, folder)
        if is_same:
            return target
        raise UsageError(
            f"{target} exists, and is another model or version",
            hint="--overwrite replaces it, --to names another folder",
        )
    hashes = _read(record, source)
    names = [*hashes, RECORD_FILE]
    if _join(folder, _BACKBONE_RECORD) in source.files:
        of_backbone = _read(source.fetch(_join(folder, _BACKBONE_RECORD), staging), source)
        hashes |= {f"{_BACKBONE}/{name}": digest for name, digest in of_backbone.items()}
        names = [*hashes, _BACKBONE_RECORD, RECORD_FILE]
    _fetch_all(source, folder, staging, hashes)
    try:
        with writing(target, replace=overwrite) as temporary:
            for name in names:
                (temporary / name).parent.mkdir(parents=True, exist_ok=True)
                (staging / folder / name).rename(temporary / name)
            load_bundle(temporary)
    finally:
        _remove(staging, folder)
    return target


def _fetch_all(source: _Repository, folder: str, staging: Path, hashes: Mapping[str, str]) -> None:
    """Fetch files and check their hashes; one that is damaged is fetched once more."""
    for name, digest in hashes.items():
        path = source.fetch(_join(folder, name), staging)
        if sha256(path) != digest:
            path = source.fetch(_join(folder, name), staging, again=True)
        if sha256(path) != digest:
            path.unlink()
            raise BundleError(
                f"{source.id}: {name}: not what {RECORD_FILE} says (sha256 differs)",
                hint="the repository is damaged, or something on the way changes what passes: "
                "its owner has to publish the whole folder again",
            )


def _read(path: Path, source: _Repository) -> dict[str, str]:
    """Return the sha256 of the files that a record lists; BundleError for one that is none."""
    try:
        files = msgspec.json.decode(path.read_bytes(), type=_Record).files
    except msgspec.DecodeError as error:
        path.unlink()
        raise BundleError(
            f"{source.id}: {path.name} is no record of lmtool: {error}",
            hint="is it a model of lmtool? Its owner has to publish the whole folder",
        ) from error
    for name in files:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise BundleError(f"{source.id}: {path.name}: {name} leads out of the bundle")
    return files


def _is_same(target: Path, record: Path) -> bool:
    """Whether a folder holds the bundle of this record, undamaged."""
    there = target / RECORD_FILE
    if not there.is_file() or there.read_bytes() != record.read_bytes():
        return False
    return not any(True for _ in load_bundle(target, verify=False).problems())


def _remove(staging: Path, folder: str) -> None:
    """Remove a bundle from where it was fetched to, and the place when nothing else is there."""
    shutil.rmtree(staging / folder, ignore_errors=True)
    if not any(p.is_file() and ".cache" not in p.parts for p in staging.rglob("*")):
        shutil.rmtree(staging, ignore_errors=True)
    with contextlib.suppress(OSError):  # another pull is under way
        staging.parent.rmdir()


def _split(ref: str) -> tuple[str, str]:
    """Return the repository of OWNER/NAME/FOLDER, and the folder ("" without one)."""
    parts = ref.strip().removesuffix("/").split("/")
    if not all(parts) or any(part in (".", "..") for part in parts):
        raise UsageError(f"{ref}: no name of a repository", hint="write OWNER/NAME")
    return "/".join(parts[:2]), "/".join(parts[2:])


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or None


@contextlib.contextmanager
def _bars(show: bool) -> Iterator[None]:
    """Show the library's progress bars, or not."""
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    if show or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


class _Unreachable(BundleError):
    """The hub cannot be reached."""


@contextlib.contextmanager
def _plain_errors(repository: str, way_out: str = _GOES_ON) -> Iterator[None]:
    """Turn what the library raises into a BundleError that says what is wrong and what mends it.

    What the library itself logs, as each try after the first, is left out.
    """
    from huggingface_hub import constants, errors

    library = logging.getLogger("huggingface_hub")
    hub, level = _endpoint() or constants.ENDPOINT, library.level
    library.setLevel(logging.ERROR)
    try:
        yield
    except LmtoolError:
        raise
    except errors.OfflineModeIsEnabled as error:
        raise _Unreachable(
            f"{repository}: not fetched, HF_HUB_OFFLINE forbids it",
            hint="unset HF_HUB_OFFLINE" + (f"; {way_out}" if way_out != _GOES_ON else ""),
        ) from error
    except errors.HFValidationError as error:
        raise UsageError(f"{repository}: no name of a repository", "write OWNER/NAME") from error
    except errors.GatedRepoError as error:
        raise BundleError(
            f"{repository}: its owner asks for terms to be accepted, or an access to be granted",
            hint=f"do so at {hub}/{repository}, then set HF_TOKEN or run hf auth login",
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise BundleError(
            f"{repository}: {hub} has no such model, or it is private",
            hint="a private one needs HF_TOKEN, or hf auth login; HF_ENDPOINT names another hub",
        ) from error
    except errors.RevisionNotFoundError as error:
        raise BundleError(
            f"{repository}: no such revision", hint="--revision takes a branch, a tag or a commit"
        ) from error
    except OSError as error:
        if error.errno is not None and error.filename is not None:
            raise  # of our own disk
        raise _unreachable(repository, hub, error, way_out) from error
    except Exception as error:  # the library's HTTP client has its own, by version
        raise _unreachable(repository, hub, error, way_out) from error
    finally:
        library.setLevel(level)


def _unreachable(repository: str, hub: str, error: BaseException, way_out: str) -> _Unreachable:
    cause: Any = error.__cause__ or error
    return _Unreachable(
        f"{repository}: could not be fetched from {hub}: {type(cause).__name__}: {cause}",
        hint=f"{way_out}; HF_ENDPOINT names another hub",
    )
