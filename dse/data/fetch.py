"""Published files: found under `data.root` or downloaded, and verified by size and SHA-256."""

from __future__ import annotations

import hashlib
from pathlib import Path

from dse.data.published import File, Form, Published
from dse.data.store import DataError, Report, Store, new_file, reason, writable

BLOCK = 2**20
"""Bytes that are downloaded at a time."""


def locate(published: Published, store: Store, report: Report) -> tuple[Form, Path]:
    """A form of the set of which all files exist, and their folder. Downloads it if asked to.

    Raises `DataError` where there is none.
    """
    for form in published.forms:
        for folder in (store.root / name for name in form.folders):
            if not _missing(form, folder):
                return form, folder
    form = next((form for form in published.forms if form.downloadable), published.forms[0])
    if not (store.download and form.downloadable):
        raise DataError(_not_found(published, store.root))
    folder = store.root / form.folders[0]
    with writable(store.root, "data.root"):
        folder.mkdir(parents=True, exist_ok=True)
    for file in _missing(form, folder):
        report(f"downloading {file.address} ({file.size:,} bytes) to {folder}")
        download(file, folder)
    return form, folder


def verified(path: Path, file: File) -> bytes:
    """The contents of `path`; raises `DataError` unless they are those of the published `file`."""
    try:
        with path.open("rb") as opened:
            content = opened.read(file.size + 1)
    except OSError as error:
        raise DataError(f"{path} must be a readable file: {reason(error)}") from None
    if problem := _difference(content, file):
        raise DataError(f"{path} must have {_rule(file)}, got {problem}: remove or replace it")
    return content


def download(file: File, folder: Path, *, timeout: float = 30) -> None:
    """Download a published file to `folder`; it appears there only when whole and verified.

    Gives up at the first byte too many, and after `timeout` seconds of silence. Raises `DataError`.
    """
    import http.client  # these load ssl, which only a download needs
    import urllib.request

    content = bytearray()
    try:
        with urllib.request.urlopen(file.address, timeout=timeout) as response:
            while block := response.read1(min(BLOCK, file.size + 1 - len(content))):
                content += block
        if problem := _difference(content, file):
            raise ValueError(f"got {problem}")
        with new_file(folder / file.name) as target:
            target.write(content)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise DataError(
            f"`data.download` could not download {file.address} to {folder}: {reason(error)}; "
            f"expected {_rule(file)}"
        ) from None


def _rule(file: File) -> str:
    return f"{file.size:,} bytes with the SHA-256 {file.sha256}"


def _difference(content: bytes | bytearray, file: File) -> str:
    """How contents differ from the published ones; empty where they do not."""
    if len(content) > file.size:
        return f"more than {file.size:,} bytes"
    if len(content) < file.size:
        return f"{len(content):,} bytes"
    digest = hashlib.sha256(content).hexdigest()
    return "" if digest == file.sha256 else digest


def _missing(form: Form, folder: Path) -> list[File]:
    """The files of a form that do not exist in `folder`."""
    return [file for file in form.files if not (folder / file.name).is_file()]


def _not_found(published: Published, root: Path) -> str:
    """The line for a set that is not under `root`: all places, missing files, the download."""
    places, incomplete, downloads = [], [], []
    for form in published.forms:
        first, *others = form.files
        more = f" and {len(others)} more files" if others else ""
        folders = " or ".join(f"{folder}/" if folder else "data.root" for folder in form.folders)
        where = "" if folders == "data.root" else f" in {folders}"
        places.append(f"{first.name}{more}{where}")
        for folder in form.folders:
            missing = [file.name for file in _missing(form, root / folder)]
            if len(missing) < len(form.files):
                incomplete.append(f"; {folder or 'data.root'} lacks {', '.join(missing)}")
        if form.downloadable:
            size = sum(file.size for file in form.files)
            downloads.append(f"; data.download=true fetches {size:,} bytes")
    return (
        f"`data.root` must hold {published.name}, got {root} without {', or '.join(places)}"
        f"{''.join(incomplete)}{''.join(downloads[:1])}"
    )
