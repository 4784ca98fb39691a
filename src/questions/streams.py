"""Where an import reads from and an export writes to: files, pipes, devices, and the standard streams as ``-``."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TextIO

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

DASH = Path("-")


@contextmanager
def opened(file: Path) -> Iterator[BinaryIO]:
    """The bytes of a file.

    Raises:
        click.ClickException: where standard input is asked for, and its caller has closed it.
    """
    if file == DASH:
        yield _standard(sys.stdin)
        return
    with file.open("rb") as stream:
        yield stream


def size(file: Path) -> int | None:
    """The bytes of a regular file; None for a pipe, whose end nobody knows."""
    return file.stat().st_size if file.is_file() else None


@contextmanager
def written(file: Path) -> Iterator[BinaryIO]:
    """A stream to write to; a regular file is replaced when all is written, a device or a pipe never.

    Raises:
        click.ClickException: where it cannot be written; a pipe whose reader has seen enough is an OSError, as ever.
    """
    target = file.resolve()
    try:
        if file == DASH:
            yield (stream := _standard(sys.stdout))
            stream.flush()
        elif target.exists() and not target.is_file():
            with target.open("wb") as stream:
                yield stream
        else:
            with _replaced(target) as stream:
                yield stream
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise
        if file == DASH:
            _drop_unwritten(sys.stdout)
        raise click.ClickException(f"{file} cannot be written: {error.strerror}.") from None


@contextmanager
def _replaced(file: Path) -> Iterator[BinaryIO]:
    """A stream whose content takes the file's place when it is complete, and is thrown away when it is not."""
    part = file.with_name(f".{file.name}.{uuid.uuid4().hex}")
    try:
        with part.open("xb") as stream:
            if file.exists():
                shutil.copymode(file, part)
            yield stream
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def _drop_unwritten(stream: TextIO) -> None:
    """Let Python's own flush at exit, which would fail once more, lead nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _standard(stream: TextIO | None) -> BinaryIO:
    """The bytes of standard input or output, which Python has as None where its caller has closed it."""
    if stream is None:
        raise click.ClickException("- stands for standard input or output, which is closed: name a file.")
    return stream.buffer
