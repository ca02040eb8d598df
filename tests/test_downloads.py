"""Downloads: they go on where they stopped, and a file has its name only when it is whole and right."""

import os
import shutil
import signal
import socket
import threading
import time
import urllib.request
from pathlib import Path

import pytest
from file_server import CONTENT, FileServer

from labutils import downloads
from labutils.downloads import DownloadError, FolderError, started

SIZE = len(CONTENT)


@pytest.fixture
def server():
    with FileServer() as server:
        yield server


@pytest.fixture
def path(tmp_path):
    return tmp_path / "models" / "tiny.h5"


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(downloads, "STALL_SECONDS", 1.0)
    monkeypatch.setattr(downloads, "PROBE_SECONDS", 2.0)
    monkeypatch.setattr(downloads, "WAIT_SECONDS", 0.01)


def check(path: Path) -> str | None:
    return None if path.read_bytes() == CONTENT else "it is not what was published"


def download(path, *servers, size=SIZE):
    downloads.download([f"{server.address}/tiny.h5" for server in servers], path, check, size=size)


def beside(path) -> set[str]:
    """What lies in the file's folder."""
    return {entry.name for entry in path.parent.iterdir()} if path.parent.exists() else set()


PARTIAL = {"tiny.h5.part", "tiny.h5.part.json"}


@pytest.fixture
def part(path, server):
    """The first 5,000 bytes, as a connection that broke left them."""
    server.stops = [5000, 0]
    with pytest.raises(DownloadError):
        download(path, server)
    del server.asked[:], server.sent[:]
    return path.with_name("tiny.h5.part")


class TestGoesOn:
    def test_whole_file_in_one_go_leaves_nothing_else(self, path, server):
        download(path, server)
        assert path.read_bytes() == CONTENT
        assert beside(path) == {"tiny.h5"}
        assert server.asked == [{}]

    def test_broken_connection_is_taken_up_at_once(self, path, server):
        server.stops = [1000, 2000]
        download(path, server)
        assert path.read_bytes() == CONTENT
        assert server.sent == [1000, 2000, SIZE - 3000]

    def test_only_the_missing_bytes_are_sent(self, path, server, part):
        assert beside(path) == PARTIAL
        assert started(path) == (5000, SIZE)
        download(path, server)
        assert path.read_bytes() == CONTENT
        assert server.asked == [{"Range": "bytes=5000-", "If-Range": '"first"'}]
        assert server.sent == [SIZE - 5000]
        assert started(path) is None

    @pytest.mark.parametrize(
        ("headers", "condition"),
        [
            ({"ETag": 'W/"like the first"'}, {}),
            ({"Last-Modified": "Sat, 21 Nov 2026 22:00:00 GMT"}, {"If-Range": "Sat, 21 Nov 2026 22:00:00 GMT"}),
            ({}, {}),
        ],
        ids=["weak ETag marks no bytes", "date where there is no ETag", "neither"],
    )
    def test_other_marks_of_a_version(self, path, server, headers, condition):
        server.headers, server.stops = headers, [5000]
        download(path, server)
        assert server.asked == [{}, {"Range": "bytes=5000-", **condition}]
        assert path.read_bytes() == CONTENT

    def test_server_without_ranges_starts_anew(self, path, server, part):
        server.ranges = False
        download(path, server)
        assert server.sent == [SIZE]
        assert path.read_bytes() == CONTENT

    def test_file_that_changed_on_the_server_starts_anew(self, path, server, part):
        part.write_bytes(b"x" * 5000)  # of the version before
        server.headers = {"ETag": '"second"'}
        download(path, server)
        assert server.sent == [SIZE]
        assert path.read_bytes() == CONTENT

    def test_file_of_another_size_starts_anew(self, path, server, part):
        """Without a mark of the version, and of a file whose size is not known before."""
        notes = path.with_name("tiny.h5.part.json")
        notes.write_text(notes.read_text().replace(str(SIZE), str(SIZE + 1)).replace('\\"first\\"', ""))
        part.write_bytes(b"x" * 5000)
        download(path, server, size=None)
        assert server.sent[-1] == SIZE
        assert path.read_bytes() == CONTENT

    def test_other_server_goes_on_with_what_the_first_brought(self, path, server):
        server.stops = [5000, 0]
        with FileServer() as other:
            other.headers = {"ETag": '"the same file by another name"'}
            download(path, server, other)
            assert other.asked == [{"Range": "bytes=5000-"}]
        assert path.read_bytes() == CONTENT

    def test_redirection_goes_on_too(self, path, server, part):
        server.behaviour = "redirects"
        download(path, server)
        assert server.requests[-2:] == ["/models/tiny.h5", "/elsewhere/tiny.h5"]
        assert server.sent == [0, SIZE - 5000]

    def test_server_that_sends_another_part_than_asked_for(self, path, server, part):
        server.behaviour = "wrong part"
        with pytest.raises(DownloadError, match="a part of the file that it was not asked for"):
            download(path, server)
        assert not path.exists()

    @pytest.mark.parametrize("size", [SIZE, None])
    def test_process_that_ended_just_before_the_last_step(self, path, server, part, size):
        part.write_bytes(CONTENT)
        download(path, server, size=size)
        assert sum(server.sent) == 0
        assert path.read_bytes() == CONTENT

    @pytest.mark.parametrize("notes", ["", "{", "[]", "{}"])
    def test_unreadable_notes_do_no_harm(self, path, server, part, notes):
        path.with_name("tiny.h5.part.json").write_text(notes)
        download(path, server)
        assert server.asked == [{"Range": "bytes=5000-"}]
        assert path.read_bytes() == CONTENT

    @pytest.mark.parametrize("length", [SIZE, SIZE + 5])
    def test_whole_of_unknown_size_is_recognised_and_more_is_not(self, path, server, part, length):
        part.write_bytes((CONTENT + CONTENT)[:length])
        path.with_name("tiny.h5.part.json").unlink()
        download(path, server, size=None)
        assert sum(server.sent) == (0 if length == SIZE else SIZE)
        assert path.read_bytes() == CONTENT

    def test_damaged_part_is_removed_and_the_file_starts_anew(self, path, server, part, capsys):
        part.write_bytes(b"x" * 5000)
        download(path, server)
        assert server.sent == [SIZE - 5000, SIZE]
        assert path.read_bytes() == CONTENT
        assert "tiny.h5: with what was here before it is damaged; removed, starting anew" in capsys.readouterr().err

    @pytest.mark.skipif(os.name == "nt", reason="signals another thread")
    def test_interrupt_leaves_what_came(self, path, server, monkeypatch):
        monkeypatch.setattr(downloads, "STALL_SECONDS", 30.0)  # a busy machine must not end the connection first
        server.stops = [5000]

        def interrupt():
            while started(path) != (5000, SIZE):
                time.sleep(0.01)
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

        server.at_stop = interrupt
        with pytest.raises(KeyboardInterrupt):
            download(path, server)
        assert beside(path) == PARTIAL
        server.at_stop = None
        download(path, server)
        assert server.sent == [5000, SIZE - 5000]

    def test_proxy_is_asked(self, path, server, monkeypatch):
        monkeypatch.setenv("http_proxy", server.address)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.setattr(urllib.request, "_opener", None)  # urllib remembers the proxies of its first request.
        downloads.download(["http://weights.invalid/tiny.h5"], path, check, size=SIZE)
        assert server.requests == ["http://weights.invalid/tiny.h5"]

    def test_file_address(self, path, tmp_path):
        (tmp_path / "of a colleague.h5").write_bytes(CONTENT)
        downloads.download([(tmp_path / "of a colleague.h5").as_uri()], path, check, size=SIZE)
        assert path.read_bytes() == CONTENT

    def test_server_that_tells_no_length(self, path, server):
        server.behaviour = "no length"
        download(path, server, size=None)
        assert path.read_bytes() == CONTENT


class TestFails:
    @pytest.mark.parametrize(
        ("behaviour", "reason"),
        [
            ("not found", "HTTP Error 404"),
            ("wrong content", "what came is damaged and was removed: it is not what was published"),
            ("web page", "a web page came instead of the file .*log-in page"),
            ("silent", "no answer within|timed out"),
        ],
    )
    def test_nothing_is_left_behind(self, path, server, behaviour, reason):
        server.behaviour = behaviour
        with pytest.raises(DownloadError, match=f"{server.address}/tiny.h5: .*({reason})"):
            download(path, server)
        assert beside(path) == set()

    @pytest.mark.parametrize("behaviour", ["not found", "web page", "silent", "another file"])
    def test_what_came_before_is_kept(self, path, server, part, behaviour):
        server.behaviour = behaviour
        if behaviour == "another file":
            server.content = CONTENT * 2
        with pytest.raises(DownloadError):
            download(path, server)
        assert part.read_bytes() == CONTENT[:5000]

    @pytest.mark.parametrize(
        ("at_stop", "reason"), [(None, "broke off after 5,000 of 16,384 bytes"), (lambda: None, "timed out")]
    )
    def test_broken_and_stalled_downloads_keep_what_came(self, path, server, at_stop, reason):
        server.stops, server.at_stop = [5000, 0], at_stop
        with pytest.raises(DownloadError, match=reason):
            download(path, server)
        assert beside(path) == PARTIAL
        assert started(path) == (5000, SIZE)

    def test_server_that_always_breaks_off_and_knows_no_ranges_is_given_up(self, path, server):
        server.ranges, server.stops = False, [1000] * 50
        with pytest.raises(DownloadError, match="broke off after 1,000"):
            download(path, server)
        assert len(server.requests) == 2

    def test_other_size_is_refused_before_it_is_read(self, path, server):
        server.content = CONTENT * 2
        with pytest.raises(DownloadError, match="has 32,768 bytes instead of 16,384"):
            download(path, server)
        assert beside(path) == set()

    def test_file_without_end_is_not_read_to_the_end(self, path, server):
        server.content, server.behaviour = CONTENT * 500, "no length"
        with pytest.raises(DownloadError, match="more than 16,384 bytes"):
            download(path, server)
        assert beside(path) == set()

    def test_file_that_was_there_stays_until_the_end(self, path, server):
        path.parent.mkdir()
        path.write_bytes(b"something the user put there")
        server.behaviour = "wrong content"
        with pytest.raises(DownloadError):
            download(path, server)
        assert path.read_bytes() == b"something the user put there"

    def test_every_address_is_named_with_its_reason(self, path, server):
        server.behaviour = "not found"
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            nobody = f"http://127.0.0.1:{unused.getsockname()[1]}/tiny.h5"
            with pytest.raises(DownloadError, match=r"tiny.h5: .*refused.* \| http.*tiny.h5: HTTP Error 404"):
                downloads.download([nobody, f"{server.address}/tiny.h5"], path, check, size=SIZE)

    @pytest.mark.parametrize("address", ["tiny.h5", "http://", "http://127.0.0.1:port/x", "gopher://x/tiny.h5"])
    def test_addresses_that_are_none(self, path, address):
        with pytest.raises(DownloadError, match=address):
            downloads.download([address], path, check)

    def test_name_lookup_that_hangs(self, path, monkeypatch):
        """Looking up a host obeys no socket timeout."""
        over = threading.Event()
        monkeypatch.setattr(downloads, "PROBE_SECONDS", 0.2)
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait() and [])
        with pytest.raises(DownloadError, match=r"no answer within 0\.2 s"):
            downloads.download(["http://somewhere.invalid/tiny.h5"], path, check)
        over.set()

    def test_no_space_is_known_before(self, path, server, monkeypatch):
        server.stops = [None, 7000, 0]  # at once: the first answer is still being sent when nobody reads it any more
        usage = shutil.disk_usage("/")._replace(free=10_000)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
        with pytest.raises(FolderError, match=r"no space is left in .*models"):
            download(path, server)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=SIZE))
        with pytest.raises(DownloadError, match="broke off"):
            download(path, server)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=SIZE - 7000))
        download(path, server)  # What is missing fits.

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is full")
    def test_disk_that_fills_up_meanwhile(self, path, server):
        path.parent.mkdir()
        path.with_name("tiny.h5.part").symlink_to("/dev/full")
        with pytest.raises(FolderError, match="No space left"):
            download(path, server)

    def test_folder_that_cannot_be(self, tmp_path, server):
        (tmp_path / "models").write_text("a file where the folder belongs")
        with pytest.raises(FolderError, match=f"cannot write to {tmp_path}"):
            download(tmp_path / "models" / "tiny.h5", server)


class TestSeveralAtOnce:
    def test_one_downloads_and_the_others_wait_for_it(self, path, server):
        paused, others_wait, done = threading.Event(), threading.Event(), []
        server.stops, server.at_stop = [5000], lambda: (paused.set(), others_wait.wait(5))

        def run():
            download(path, server)
            done.append(path.read_bytes() == CONTENT)

        threads = [threading.Thread(target=run) for _ in range(3)]
        threads[0].start()
        paused.wait(5)
        for thread in threads[1:]:
            thread.start()
        others_wait.set()
        for thread in threads:
            thread.join(10)
        assert done == [True, True, True]
        assert sum(server.sent) == SIZE
        assert beside(path) == {"tiny.h5"}

    def test_others_say_that_they_wait_and_go_on_when_the_first_gives_up(self, path, server, capsys):
        path.parent.mkdir()
        lock = path.with_name("tiny.h5.lock").open("ab")
        assert downloads._locked(lock)
        thread = threading.Thread(target=download, args=(path, server))
        thread.start()
        thread.join(0.1)
        assert thread.is_alive()
        lock.close()  # as the operating system does for a process that was killed
        thread.join(10)
        assert path.read_bytes() == CONTENT
        assert "another process is downloading it; waiting for that" in capsys.readouterr().err
