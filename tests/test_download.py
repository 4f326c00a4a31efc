"""Downloading EmoDB: complete or not at all. The only host contacted is 127.0.0.1."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import io
import os
import re
import socket
import threading
import time
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from speech import download, emodb
from speech.corpus import find_corpus
from speech.download import LARGEST_MEMBER, download_emodb
from speech.recording import CorpusError

FILES = {f"{name}.wav": (name * 50).encode() for name in ("03a01Fa", "03a01Wa", "16b10Td")}
DATA = os.environ.get("NN1D_DATA")  # the tests below run without it, so that nothing is found before it is downloaded
SUMS = {name.removesuffix(".wav"): hashlib.sha256(content).hexdigest() for name, content in FILES.items()}


class Server:
    """Answers every request with one body, and may promise more than it sends."""

    def __init__(self) -> None:
        self.body, self.promised, self.status, self.requests, self.pause_s = b"", 0, 200, 0, 0.0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests += 1
                self.send_response(outer.status)
                self.send_header("Content-Length", str(max(outer.promised, len(outer.body))))
                self.end_headers()
                with contextlib.suppress(ConnectionError):  # who asked has heard enough
                    if not outer.pause_s:
                        self.wfile.write(outer.body)
                    else:
                        for byte in outer.body:
                            self.wfile.write(bytes([byte]))
                            time.sleep(outer.pause_s)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/download.zip"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("NN1D_DATA", raising=False)
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.http.shutdown()
    server.http.server_close()
    thread.join()


def archive(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


def complete() -> dict[str, bytes]:
    return {
        "erkennung.txt": b"1\t03a01Fa.wav\t90,00\t75,00\n",
        "erklaerung.txt": b"text",
        **{f"wav/{name}": content for name, content in FILES.items()},
        **{f"lablaut/{Path(name).stem}.lablaut": b"labels" for name in FILES},
        "laryngograms/03a01Fa.wav": b"no speech",
    }


def assert_refused(tmp_path: Path, url: str, why: str) -> None:
    directory = tmp_path / "cache" / "emodb"
    with pytest.raises(CorpusError) as error:
        download_emodb(directory, url, SUMS)
    message = str(error.value)
    assert re.match(f"emodb: {re.escape(url)}: {why}", message), message
    assert message.endswith(f". Fetch {url} by hand, unpack it to {directory}, or name where it is with --data-dir")
    assert list((tmp_path / "cache").iterdir()) == [], "something was left behind"


def test_a_complete_archive_becomes_the_corpus(
    server: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    server.body = archive(complete())
    directory = tmp_path / "cache" / "emodb"
    corpus = find_corpus("emodb", cache_dir=tmp_path / "cache", url=server.url, checksums=SUMS, progress=True)
    assert corpus.directory == directory
    assert [recording.name for recording in corpus.recordings] == ["03a01Fa", "03a01Wa", "16b10Td"]
    assert corpus.recordings[0].details["recognised_percent"] == 90
    assert corpus.notes == [f"emodb: downloaded from {server.url} to {directory}"]
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert files == ["cache/emodb/erkennung.txt", *(f"cache/emodb/wav/{name}" for name in sorted(FILES))]
    assert (directory / "wav" / "03a01Fa.wav").read_bytes() == FILES["03a01Fa.wav"]
    # Found there from now on.
    again = find_corpus("emodb", cache_dir=tmp_path / "cache", url=server.url, checksums=SUMS)
    assert len(again.recordings) == 3
    assert again.notes == []
    assert server.requests == 1
    assert capfd.readouterr() == ("", ""), "no bar and no log where there is no terminal"


def test_an_empty_directory_is_filled(server: Server, tmp_path: Path) -> None:
    server.body = archive(complete())
    (tmp_path / "emodb").mkdir()
    download_emodb(tmp_path / "emodb", server.url, SUMS)
    assert len(list((tmp_path / "emodb" / "wav").iterdir())) == 3


def test_what_the_user_has_there_is_not_overwritten(server: Server, tmp_path: Path) -> None:
    (tmp_path / "emodb").mkdir()
    (tmp_path / "emodb" / "thesis.txt").write_text("precious")
    with pytest.raises(
        CorpusError, match=r"emodb is there but holds no recordings of EmoDB. Move it away to download$"
    ):
        find_corpus("emodb", cache_dir=tmp_path, url=server.url, checksums=SUMS)
    assert (tmp_path / "emodb" / "thesis.txt").read_text() == "precious"
    assert server.requests == 0


def test_a_transfer_that_breaks_off(server: Server, tmp_path: Path) -> None:
    body = archive(complete())
    server.body, server.promised = body[: len(body) // 2], len(body)
    assert_refused(tmp_path, server.url, "the transfer broke off")


def test_an_archive_that_is_cut_short_on_the_server(server: Server, tmp_path: Path) -> None:
    server.body = archive(complete())[:-100]
    assert_refused(tmp_path, server.url, r"what arrived is not a whole zip archive \(.*\)")


@pytest.mark.parametrize("offset", [0, 3])  # the kind of compression, then what is compressed
def test_an_archive_with_a_damaged_member(server: Server, tmp_path: Path, offset: int) -> None:
    body = bytearray(archive(complete()))
    i = body.index(b"wav/03a01Fa.wav") + len(b"wav/03a01Fa.wav") + offset
    body[i] ^= 0xFF
    server.body = bytes(body)
    assert_refused(tmp_path, server.url, r"what arrived is not a whole zip archive \(.*\)")


def test_a_page_instead_of_an_archive(server: Server, tmp_path: Path) -> None:
    server.body = b"<html>This site has moved</html>"
    assert_refused(tmp_path, server.url, r"what arrived is not a whole zip archive \(File is not a zip file\)")


def test_not_found(server: Server, tmp_path: Path) -> None:
    server.status, server.body = 404, b"not here"
    assert_refused(tmp_path, server.url, "the server answers 404 Client Error: Not Found")


def test_no_connection(server: Server, tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/download.zip"
        assert_refused(tmp_path, url, "no connection")


@pytest.mark.parametrize("evil", ["../../x", "wav/../../03a01Fa.wav", "/etc/03a01Fa.wav", "..\\..\\x.wav", "C:\\x.wav"])
def test_names_that_lead_outside_are_refused(server: Server, tmp_path: Path, evil: str) -> None:
    server.body = archive({**complete(), evil: b"evil"})
    assert_refused(tmp_path, server.url, "the archive wants to write outside its folder")
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_a_member_that_unpacks_to_gigabytes_is_refused(server: Server, tmp_path: Path) -> None:
    server.body = archive({**complete(), "wav/03a01Fa.wav": bytes(LARGEST_MEMBER + 1)})
    assert len(server.body) < 10_000
    assert_refused(tmp_path, server.url, "wav/03a01Fa.wav has 2097153 bytes, more than any recording of EmoDB")


def test_members_that_unpack_to_gigabytes_together_are_refused(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "LARGEST_CONTENT", 10_000)
    server.body = archive({**complete(), **{f"{i}/erkennung.txt": bytes(1000) for i in range(10)}})
    assert_refused(tmp_path, server.url, "the archive unpacks to more than 10000 bytes")


def test_a_body_without_end_is_refused(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "LARGEST_ARCHIVE", 100_000)
    server.body, server.promised = bytes(1_000_000), 10**12
    assert_refused(tmp_path, server.url, "it sends more than 100000 bytes")


def test_a_drip_meets_the_deadline(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "DEADLINE_SECONDS", 0.3)
    server.body, server.pause_s = archive(complete()), 0.05  # each byte comes long before the time-out of the next
    assert_refused(tmp_path, server.url, r"\d+ bytes came within 0.3 s, and not the whole")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the socket of the thread left behind
def test_a_header_that_drips_meets_the_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "DEADLINE_SECONDS", 0.5)
    ended = threading.Event()

    def drip() -> None:
        with contextlib.suppress(OSError), listener.accept()[0] as connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
            while not ended.wait(0.05):
                connection.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip)
        thread.start()
        try:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/download.zip"
            assert_refused(tmp_path, url, r"0 bytes came within 0\.5 s, and not the whole")
        finally:
            ended.set()
            for each in (thread, *(other for other in threading.enumerate() if other.name == "download")):
                each.join()
            gc.collect()


def test_an_altered_and_a_missing_file(server: Server, tmp_path: Path) -> None:
    members = complete()
    members["wav/03a01Fa.wav"] += b"x"
    del members["wav/16b10Td.wav"]
    server.body = archive(members)
    why = "of the 3 recordings in speech/emodb.sha256 1 are missing and 1 are altered; nothing was kept"
    assert_refused(tmp_path, server.url, why)


def test_laryngograms_alone_are_not_taken(server: Server, tmp_path: Path) -> None:
    server.body = archive({f"laryngograms/{name}": content for name, content in FILES.items()})
    assert_refused(tmp_path, server.url, "of the 3 recordings in speech/emodb.sha256 3 are missing")


def test_a_place_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    server.body = archive(complete())
    (tmp_path / "file").touch()
    with pytest.raises(CorpusError, match=r"^emodb: .*file.* cannot be written: [^.]*\. Name another place"):
        download_emodb(tmp_path / "file" / "emodb", server.url, SUMS)


def test_another_program_was_faster(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.body = archive(complete())
    rename = Path.rename

    def late(self: Path, target: Path) -> Path:
        (target / "wav").mkdir(parents=True)
        (target / "wav" / "03a01Fa.wav").write_bytes(FILES["03a01Fa.wav"])
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", late)
    download_emodb(tmp_path / "emodb", server.url, SUMS)
    assert [path.name for path in tmp_path.iterdir()] == ["emodb"]


def test_all_real_recordings_arrive(server: Server, tmp_path: Path) -> None:
    if not DATA or not (Path(DATA) / "emodb" / "wav").is_dir():
        pytest.skip("needs EmoDB: set NN1D_DATA to the folder that holds emodb/wav")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as file:
        for path in (Path(DATA) / "emodb" / "wav").iterdir():
            file.write(path, f"wav/{path.name}")
    server.body = buffer.getvalue()
    corpus = find_corpus("emodb", cache_dir=tmp_path, url=server.url)
    assert emodb.check(corpus.recordings).complete
