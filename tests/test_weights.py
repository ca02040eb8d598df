"""Weight files: found only when whole, fetched only when intact, and clear when neither is possible."""

import hashlib
import inspect
import io
import json
import socket
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from labutils import weights
from labutils.weights import Remote, WeightsError

CONTENT = bytes(range(256)) * 64
SHA256 = "sha256:" + hashlib.sha256(CONTENT).hexdigest()


def npz() -> bytes:
    """A small .npz; its arrays lie in it as they are, as `numpy.savez` puts them."""
    buffer = io.BytesIO()
    np.savez(buffer, **{"cls": np.arange(200.0), "head/kernel": np.ones((30, 20)), "head/bias": np.zeros(20)})
    return buffer.getvalue()


class Server(ThreadingHTTPServer):
    """A weights server that can misbehave; `behaviour` says how, `requests` records what was asked."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.behaviour = "well"
        self.requests: list[str] = []
        self.test_over = threading.Event()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/models"


class Handler(BaseHTTPRequestHandler):
    def do_HEAD(self):
        if self.server.behaviour == "silent":
            self.server.test_over.wait()
        elif self.server.behaviour == "refuses HEAD":
            self.send_error(501)
        else:
            self._head(len(self.server.content))

    def do_GET(self):
        behaviour = self.server.behaviour
        self.server.requests.append(self.path)
        if behaviour == "not found":
            self.send_error(404)
        elif behaviour == "wrong content":
            self._head(len(self.server.content))
            self.wfile.write(self.server.content[::-1])
        elif behaviour in ("breaks off", "stalls"):
            self._head(len(self.server.content))
            self.wfile.write(self.server.content[:1000])
            self.wfile.flush()
            if behaviour == "stalls":
                self.server.test_over.wait()
        else:
            self._head(len(self.server.content))
            self.wfile.write(self.server.content)

    def _head(self, length):
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    server = Server()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.test_over.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def remote(tmp_path, monkeypatch, server):
    """A remote file "tiny" on `server`, with an empty Keras cache; gives the path where it belongs."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.delenv("LABUTILS_MIRROR", raising=False)
    origin = f"{server.address}/tiny.h5"
    monkeypatch.setitem(weights.REMOTE, "tiny", Remote(origin, SHA256, len(CONTENT), "MIT"))
    return tmp_path / "keras" / "models" / "tiny.h5"


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A data folder with one bundled file "small"; gives the file's path."""
    models = tmp_path / "data" / "models"
    models.mkdir(parents=True)
    entry = {
        "file": "small.h5",
        "sha256": SHA256.partition(":")[2],
        "bytes": len(CONTENT),
        "licence": "MIT",
        "origin": "a test",
    }
    (models / "manifest.json").write_text(json.dumps({"small": entry}))
    (models / "small.h5").write_bytes(CONTENT)
    monkeypatch.setenv("LABUTILS_DATA", str(models.parent))
    monkeypatch.delenv("LABUTILS_MIRROR", raising=False)
    return models / "small.h5"


class TestBundled:
    def test_what_the_repository_ships_is_intact(self):
        shipped = [file for file in weights.files().values() if not file.remote]
        assert "vgg16" in [file.name for file in shipped]
        for file in shipped:
            assert weights.verify(file.name) == weights.find(file.name) == file.path
            assert file.digest.startswith("sha256:")
            assert file.licence

    def test_data_folder_by_environment(self, data):
        assert weights.find("small") == data
        assert weights.files()["small"].licence == "MIT"

    def test_half_a_file_is_not_there(self, data):
        data.write_bytes(CONTENT[:-1])
        assert weights.find("small") is None
        with pytest.raises(WeightsError, match=r"small\.h5 is damaged: 16,383 bytes instead of 16,384"):
            weights.verify("small")

    def test_changed_content_is_noticed(self, data):
        data.write_bytes(CONTENT[::-1])
        with pytest.raises(WeightsError, match="content does not match"):
            weights.verify("small")

    def test_missing_file_says_where_and_what_to_do(self, data):
        data.unlink()
        assert weights.find("small") is None
        with pytest.raises(WeightsError, match=r"expected at .*small\.h5.*LABUTILS_DATA"):
            weights.fetch("small")

    def test_missing_file_comes_from_a_mirror(self, data, server, monkeypatch):
        data.unlink()
        monkeypatch.setenv("LABUTILS_MIRROR", server.address)
        assert weights.fetch("small") == data
        assert data.read_bytes() == CONTENT

    def test_no_manifest_means_no_bundled_files(self, tmp_path, monkeypatch):
        monkeypatch.setenv("LABUTILS_DATA", str(tmp_path))
        assert all(file.remote for file in weights.files().values())

    @pytest.mark.parametrize("text", ["{", "[]", '{"small": 3}', '{"small": {"file": "x"}}'])
    def test_broken_manifest_is_named(self, data, text):
        (data.parent / "manifest.json").write_text(text)
        with pytest.raises(WeightsError, match=r"manifest\.json is not a manifest"):
            weights.files()

    def test_unknown_name_lists_the_known_ones(self, data):
        with pytest.raises(ValueError, match=r"no weight file is called 'smal'; there are: small, vgg16-imagenet"):
            weights.find("smal")


class TestRemote:
    def test_addresses_and_digests_are_keras_own(self):
        from keras.src.applications import imagenet_utils, vgg16

        origins = {vgg16.WEIGHTS_PATH, vgg16.WEIGHTS_PATH_NO_TOP, imagenet_utils.CLASS_INDEX_PATH}
        remotes = [remote for name, remote in weights.REMOTE.items() if not name.startswith("vit")]
        assert {remote.origin for remote in remotes} == origins
        source = inspect.getsource(vgg16) + inspect.getsource(imagenet_utils)
        for remote in remotes:
            algorithm, _, digest = remote.digest.partition(":")
            assert algorithm == "md5"
            assert f'file_hash="{digest}"' in source

    def test_cache_is_keras_own(self):
        from keras.src.backend.config import keras_home

        assert str(weights.keras_cache()) == keras_home()

    def test_vits_are_vit_keras_own(self, monkeypatch, tmp_path):
        """The same addresses and the same places, so that one download does for both."""
        vit_keras = pytest.importorskip("vit_keras.vit")
        asked = {}
        monkeypatch.setattr("keras.utils.get_file", lambda name, origin, **folder: asked.update({origin: folder}))
        monkeypatch.setattr("vit_keras.utils.load_weights_numpy", lambda **_: None)
        for size, patch in [("B_16", 16), ("B_32", 32)]:
            vit_keras.load_pretrained(size, "imagenet21k+imagenet2012", True, None, 224, patch)
        remotes = [weights.REMOTE[name] for name in ("vit-b16-imagenet", "vit-b32-imagenet")]
        assert asked == {remote.origin: {"cache_subdir": remote.folder} for remote in remotes}
        monkeypatch.setenv("KERAS_HOME", str(tmp_path))
        expected = tmp_path / "weights" / "ViT-B_16_imagenet21k+imagenet2012.npz"
        assert weights.files()["vit-b16-imagenet"].path == expected

    def test_found_in_a_prepared_cache_without_a_request(self, remote, server):
        remote.parent.mkdir(parents=True)
        remote.write_bytes(CONTENT)
        assert weights.find("tiny") == remote
        assert weights.fetch("tiny") == remote
        assert server.requests == []

    def test_fetched_once(self, remote, server):
        assert weights.find("tiny") is None
        assert weights.fetch("tiny") == remote
        assert weights.fetch("tiny") == remote
        assert server.requests == ["/models/tiny.h5"]
        assert remote.read_bytes() == CONTENT
        assert list(remote.parent.iterdir()) == [remote]

    def test_half_file_in_the_cache_is_replaced(self, remote):
        remote.parent.mkdir(parents=True)
        remote.write_bytes(CONTENT[:1000])
        assert weights.find("tiny") is None
        assert weights.fetch("tiny").read_bytes() == CONTENT

    def test_mirror_takes_the_place_of_the_origin(self, remote, server, monkeypatch):
        monkeypatch.setitem(weights.REMOTE, "tiny", Remote("http://nowhere.invalid/tiny.h5", SHA256, 16384, "MIT"))
        monkeypatch.setenv("LABUTILS_MIRROR", server.address + "/")
        assert weights.fetch("tiny").read_bytes() == CONTENT
        assert server.requests == ["/models/tiny.h5"]

    def test_mirror_may_be_a_folder(self, remote, tmp_path, monkeypatch):
        (tmp_path / "tiny.h5").write_bytes(CONTENT)
        monkeypatch.setenv("LABUTILS_MIRROR", tmp_path.as_uri())
        assert weights.fetch("tiny").read_bytes() == CONTENT

    def test_server_that_refuses_the_probe_still_serves(self, remote, server):
        server.behaviour = "refuses HEAD"
        assert weights.fetch("tiny").read_bytes() == CONTENT

    @pytest.mark.parametrize(
        ("behaviour", "reason"),
        [
            ("not found", "404"),
            ("wrong content", "corrupted"),
            ("breaks off", "retrieval incomplete"),
            ("stalls", "timed out"),
            ("silent", "timed out|no answer within"),
        ],
    )
    def test_bad_server_leaves_nothing_behind(self, remote, server, monkeypatch, behaviour, reason):
        monkeypatch.setattr(weights, "PROBE_SECONDS", 0.5)
        monkeypatch.setattr(weights, "STALL_SECONDS", 0.5)
        server.behaviour = behaviour
        with pytest.raises(WeightsError, match=reason) as raised:
            weights.fetch("tiny")
        assert "tiny.h5" in str(raised.value)
        assert server.address in str(raised.value)
        assert "weights='bundled'" in str(raised.value)
        assert "LABUTILS_MIRROR" in str(raised.value)
        assert weights.find("tiny") is None
        assert not remote.parent.exists() or list(remote.parent.iterdir()) == []

    def test_bad_server_leaves_the_old_file_alone(self, remote, server):
        remote.parent.mkdir(parents=True)
        remote.write_bytes(b"something the user put there")
        server.behaviour = "wrong content"
        with pytest.raises(WeightsError):
            weights.fetch("tiny")
        assert remote.read_bytes() == b"something the user put there"

    def test_nobody_listens(self, remote, monkeypatch):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            origin = f"http://127.0.0.1:{unused.getsockname()[1]}/tiny.h5"
            monkeypatch.setitem(weights.REMOTE, "tiny", Remote(origin, SHA256, len(CONTENT), "MIT"))
            with pytest.raises(WeightsError, match="refused"):
                weights.fetch("tiny")

    def test_name_lookup_that_hangs(self, remote, monkeypatch):
        """Looking up a host obeys no socket timeout; the probe must give up on it all the same."""
        over = threading.Event()
        monkeypatch.setattr(weights, "PROBE_SECONDS", 0.2)
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait() and [])
        with pytest.raises(WeightsError, match="no answer within"):
            weights.fetch("tiny")
        over.set()

    def test_download_leaves_the_default_timeout_as_it_was(self, remote):
        before = socket.getdefaulttimeout()
        weights.fetch("tiny")
        assert socket.getdefaulttimeout() == before


class TestChecksumsInside:
    """Zip files, of which nobody publishes a digest: their own checksums, and the directory at their end, must do."""

    NAME = "vit-b16-imagenet"

    @pytest.fixture
    def remote(self, tmp_path, monkeypatch, server):
        """The ViT's weights on `server`, small, with an empty Keras cache; gives the path where they belong."""
        monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
        monkeypatch.setenv("LABUTILS_MIRROR", server.address)
        server.content = npz()
        return tmp_path / "keras" / "weights" / "ViT-B_16_imagenet21k+imagenet2012.npz"

    @pytest.fixture
    def here(self, remote):
        remote.parent.mkdir(parents=True)
        remote.write_bytes(npz())
        return remote

    def test_fetched_once_into_the_place_of_vit_keras(self, remote, server):
        assert weights.find(self.NAME) is None
        assert weights.fetch(self.NAME) == weights.find(self.NAME) == weights.fetch(self.NAME) == remote
        assert server.requests == ["/models/ViT-B_16_imagenet21k+imagenet2012.npz"]
        assert list(remote.parent.iterdir()) == [remote]
        assert remote.read_bytes() == server.content

    def test_mirror_may_be_a_folder(self, remote, tmp_path, monkeypatch):
        (tmp_path / remote.name).write_bytes(npz())
        monkeypatch.setenv("LABUTILS_MIRROR", tmp_path.as_uri())
        assert weights.fetch(self.NAME).read_bytes() == npz()

    def test_whole_file_needs_no_server(self, here, server):
        assert weights.find(self.NAME) == weights.verify(self.NAME) == weights.fetch(self.NAME) == here
        assert server.requests == []

    @pytest.mark.parametrize("length", [0, 1, 1000, -200, -22, -1])
    def test_truncated_file_is_not_there(self, here, length):
        """At -22 all but the last record of the directory is there."""
        here.write_bytes(npz()[:length])
        assert weights.find(self.NAME) is None
        with pytest.raises(
            WeightsError, match=r"2012\.npz is damaged: it is not a whole zip file .*weights fetch vit-b16"
        ):
            weights.verify(self.NAME)
        assert weights.fetch(self.NAME).read_bytes() == npz()

    def test_piece_missing_in_the_middle_is_noticed(self, here):
        here.write_bytes(npz()[:3000] + npz()[3100:])
        with pytest.raises(WeightsError, match="is damaged"):
            weights.verify(self.NAME)
        assert weights.fetch(self.NAME).read_bytes() == npz()

    def test_altered_array_is_named(self, here):
        with zipfile.ZipFile(here) as archive:
            start = archive.getinfo("head/kernel.npy").header_offset
        content = bytearray(npz())
        content[start + 1000] ^= 1
        here.write_bytes(content)
        assert weights.find(self.NAME) == here  # Only reading it through shows it.
        with pytest.raises(WeightsError, match=r"is damaged: its array 'head/kernel' does not match its checksum"):
            weights.verify(self.NAME)
        assert weights.fetch(self.NAME).read_bytes() == npz()

    def test_any_altered_byte_is_noticed_or_harms_nothing(self, here):
        """Some bytes of a zip file mean nothing to its content, such as dates; all others must be missed."""
        sound = npz()
        with np.load(io.BytesIO(sound)) as saved:
            arrays = dict(saved)
        noticed = 0
        places = np.random.default_rng(0).permutation(len(sound))[:400]
        for place in places:
            content = bytearray(sound)
            content[place] ^= 0x55
            here.write_bytes(content)
            try:
                weights.verify(self.NAME)
            except WeightsError:
                noticed += 1
                continue
            with np.load(here) as saved:
                assert list(saved) == list(arrays)
                assert all(np.array_equal(saved[key], arrays[key]) for key in arrays)
        assert noticed > 0.9 * len(places)

    @pytest.mark.parametrize(
        ("content", "behaviour", "reason"),
        [
            (b"<html>Not here</html>", "well", "what came is damaged: it is not a whole zip file"),
            (npz()[:-100], "well", "what came is damaged: it is not a whole zip file"),
            (
                npz().replace(b"\0\0\0\0\0\0\xf0?", b"\0\0\0\0\0\0\xf1?"),
                "well",
                "'head/kernel' does not match|'cls' does",
            ),
            (npz(), "breaks off", "retrieval incomplete"),
            (npz(), "not found", "404"),
        ],
    )
    def test_bad_server_leaves_nothing_behind(self, remote, server, content, behaviour, reason):
        server.content, server.behaviour = content, behaviour
        with pytest.raises(WeightsError, match=reason) as raised:
            weights.fetch(self.NAME)
        assert "cannot download ViT-B_16_imagenet21k+imagenet2012.npz (about 347 MB)" in str(raised.value)
        assert weights.find(self.NAME) is None
        assert list(remote.parent.iterdir()) == []

    def test_bad_server_leaves_the_old_file_alone(self, here, server):
        here.write_bytes(npz()[:-100])
        server.content = b"not a zip file"
        with pytest.raises(WeightsError):
            weights.fetch(self.NAME)
        assert here.read_bytes() == npz()[:-100]
