"""Fetch EmoDB from its authors and keep it only if it is complete."""

from __future__ import annotations

import errno
import sys
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from speech import emodb
from speech.cache import NO_ROOM
from speech.recording import CorpusError

# Over http, as its authors name it: what arrives is compared with the SHA-256 of every recording.
URL = "http://emodb.bilderbar.info/download/download.zip"
PLAIN = {"Accept-Encoding": "identity"}  # what is sent is written as it comes
TIMEOUT_SECONDS = 30  # for the first byte, and between one and the next
DEADLINE_SECONDS = 3600  # for all of them: 11 kB a second
LARGEST_ARCHIVE = 2**28  # bytes; EmoDB's has about 40 MB
LARGEST_MEMBER = 2**21  # bytes; the longest recording has 287,348
LARGEST_CONTENT = 2**29  # bytes that all members unpack to


def download_emodb(
    directory: Path, url: str = URL, checksums: Mapping[str, str] | None = None, progress: bool = False
) -> None:
    """Download the archive of EmoDB and unpack its recordings and erkennung.txt into a new directory.

    Everything happens in a temporary folder beside the directory, which takes its name only when every recording of the
    list is there with its SHA-256. So the directory is complete or absent, also after Ctrl-C or a power cut, and two
    programs may do this at once.

    Parameters
    ----------
    directory : Path
        Where the corpus shall be; absent or empty so far.
    url : str
        The archive.
    checksums : mapping or None
        Name -> SHA-256 of what the archive must hold; None for speech/emodb.sha256.
    progress : bool
        Show a bar on stderr where that is a terminal.

    Raises
    ------
    CorpusError
        The directory holds something else or cannot be written; the archive cannot be fetched, is not whole, is unsafe
        to unpack, or differs from the list. Nothing is left behind then.
    MemoryError
        There was none left to write with.
    """
    listed = emodb.read_checksums() if checksums is None else checksums
    by_hand = f"Fetch {url} by hand, unpack it to {directory}, or name where it is with --data-dir"
    try:
        if directory.exists() and any(directory.iterdir()):
            raise CorpusError(f"emodb: {directory} is there but holds no recordings of EmoDB. Move it away to download")
        directory.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".emodb-", dir=directory.parent) as temporary:
            archive, unpacked = Path(temporary, "download.zip"), Path(temporary, "emodb")
            try:
                _fetch(url, archive, progress)
                _unpack(archive, unpacked, listed)
            except _Failure as failure:
                raise CorpusError(f"emodb: {url}: {failure}. {by_hand}") from None
            result = emodb.check(emodb.list_recordings(unpacked, listed)[0], listed)
            if not result.complete:
                raise CorpusError(
                    f"emodb: {url}: of the {result.listed} recordings in speech/emodb.sha256 {len(result.missing)} are "
                    f"missing and {len(result.altered)} are altered; nothing was kept. {by_hand}"
                )
            _take_place(unpacked, directory)
    except OSError as error:
        if error.errno == errno.ENOMEM:
            raise MemoryError(f"{error.filename or directory} cannot be written") from None
        cure = "Make room there, or name" if error.errno in NO_ROOM else "Name"
        raise CorpusError(
            f"emodb: {error.filename or directory} cannot be written: {error.strerror or error}. "
            f"{cure} another place with --data-dir"
        ) from None


class _Failure(Exception):
    """Why the archive cannot be had; the message is a part of a sentence."""


def _fetch(url: str, archive: Path, progress: bool) -> None:
    """Fetch the archive in a thread, which is left to itself when the deadline is over: a header may drip as well."""
    fetched, failed = [0], list[BaseException]()
    stop = threading.Event()

    def fetch() -> None:
        try:
            _retrieve(url, archive, progress, fetched, stop)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=fetch, name="download", daemon=True)
    thread.start()
    try:
        thread.join(DEADLINE_SECONDS)
    finally:
        stop.set()
    if thread.is_alive():
        raise _Failure(f"{fetched[0]} bytes came within {DEADLINE_SECONDS} s, and not the whole")
    if failed:
        raise failed[0]


def _retrieve(url: str, archive: Path, progress: bool, fetched: list[int], stop: threading.Event) -> None:
    # Here and not above: only a run that downloads needs them, and they take a fifth of a second.
    import pooch
    from requests import Response, exceptions

    pooch.get_logger().setLevel("WARNING")
    bar = progress and sys.stderr.isatty()
    answers: list[Response] = []  # pooch leaves the connection open when a transfer fails

    def bound(answer: Response, **_: Any) -> None:
        answers.append(answer)
        read = getattr(answer.raw, "read1", answer.raw.read)  # what has come, so that a stop is heeded

        def stream(count: int, **_: Any) -> Iterator[bytes]:
            while not stop.is_set() and (content := read(count)):
                fetched[0] += len(content)
                if fetched[0] > LARGEST_ARCHIVE:
                    raise _Failure(f"it sends more than {LARGEST_ARCHIVE} bytes")
                yield content

        answer.raw.stream = stream

    try:
        downloader = pooch.HTTPDownloader(
            progressbar=bar, timeout=TIMEOUT_SECONDS, hooks={"response": bound}, headers=PLAIN
        )
        pooch.retrieve(url, known_hash=None, fname=archive.name, path=archive.parent, downloader=downloader)
    except exceptions.HTTPError as error:
        raise _Failure(f"the server answers {str(error).partition(' for url')[0]}") from None
    except exceptions.Timeout:
        raise _Failure(f"no answer within {TIMEOUT_SECONDS} s") from None
    except exceptions.ChunkedEncodingError:
        raise _Failure("the transfer broke off") from None
    except exceptions.ConnectionError:
        raise _Failure("no connection") from None
    except (exceptions.RequestException, ValueError) as error:
        raise _Failure(str(error)) from None
    finally:
        for answer in answers:
            answer.close()


def _unpack(archive: Path, folder: Path, listed: Mapping[str, str]) -> None:
    """Write the listed recordings to folder/wav and erkennung.txt to folder, whatever else the archive holds."""
    (folder / "wav").mkdir(parents=True)
    content = 0
    try:
        with zipfile.ZipFile(archive) as members:
            for member in members.infolist():
                path = PurePosixPath(member.filename.replace("\\", "/"))
                if path.is_absolute() or ".." in path.parts or ":" in member.filename:
                    raise _Failure(f"the archive wants to write outside its folder ({member.filename!r})")
                # The archive has label files and, some day, laryngograms of the same names in other folders.
                if path.suffix == ".wav" and path.stem in listed and path.parent.name in ("", "wav"):
                    target = folder / "wav" / path.name
                elif path.name == "erkennung.txt":
                    target = folder / path.name
                else:
                    continue
                if member.file_size > LARGEST_MEMBER:
                    raise _Failure(f"{member.filename} has {member.file_size} bytes, more than any recording of EmoDB")
                content += member.file_size  # a member is never read beyond that
                if content > LARGEST_CONTENT:
                    raise _Failure(f"the archive unpacks to more than {LARGEST_CONTENT} bytes")
                target.write_bytes(members.read(member))
    # zipfile's own words for damage, an unknown compression and a password are RuntimeErrors or BadZipFile.
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise _Failure(f"what arrived is not a whole zip archive ({error})") from None


def _take_place(unpacked: Path, directory: Path) -> None:
    try:
        if directory.exists():
            directory.rmdir()
        unpacked.rename(directory)
    except OSError:
        # Another program was faster: what it put there has passed the same check.
        if not (directory / "wav").is_dir():
            raise
