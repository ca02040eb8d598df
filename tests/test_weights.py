"""Weight files: found only when whole, fetched only when intact, and clear when neither is possible."""

import hashlib
import inspect
import io
import json
import shutil
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from file_server import CONTENT, FileServer

from labutils import weights
from labutils.weights import Remote, WeightsError

SHA256 = "sha256:" + hashlib.sha256(CONTENT).hexdigest()


def npz() -> bytes:
    """A small .npz; its arrays lie in it as they are, as `numpy.savez` puts them."""
    buffer = io.BytesIO()
    np.savez(buffer, **{"cls": np.arange(200.0), "head/kernel": np.ones((30, 20)), "head/bias": np.zeros(20)})
    return buffer.getvalue()


@pytest.fixture
def server():
    with FileServer() as server:
        yield server


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

    @pytest.mark.parametrize(
        ("behaviour", "reason"),
        [("not found", "404"), ("wrong content", "content does not match its digest"), ("web page", "a web page came")],
    )
    def test_bad_server_leaves_nothing_behind(self, remote, server, behaviour, reason):
        server.behaviour = behaviour
        with pytest.raises(WeightsError, match=reason) as raised:
            weights.fetch("tiny")
        message = str(raised.value)
        assert message.startswith(f"cannot download tiny.h5 (16 kB) from {server.address}/tiny.h5: ")
        assert "weights='bundled'" in message
        assert "LABUTILS_MIRROR" in message
        assert weights.find("tiny") is None
        assert list(remote.parent.iterdir()) == []

    def test_half_a_download_is_never_found_and_goes_on(self, remote, server):
        server.stops = [5000, 0]
        with pytest.raises(WeightsError, match="5 kB of it are here; the same command goes on from there"):
            weights.fetch("tiny")
        assert weights.find("tiny") is None
        assert weights.state("tiny") == ("incomplete", "5 kB of 16 kB are here")
        with pytest.raises(WeightsError, match=r"tiny is incomplete: 5 kB of 16 kB are here.* weights fetch tiny"):
            weights.verify("tiny")
        weights.fetch("tiny")
        assert server.sent[-1] == len(CONTENT) - 5000
        assert weights.state("tiny") == ("here", "")
        assert list(remote.parent.iterdir()) == [remote]

    def test_full_disk_is_not_the_servers_fault(self, remote, monkeypatch):
        monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 0))
        with pytest.raises(
            WeightsError, match=r"no space is left in .* set KERAS_HOME to a folder elsewhere"
        ) as raised:
            weights.fetch("tiny")
        assert "LABUTILS_MIRROR" not in str(raised.value)

    def test_state(self, remote):
        assert weights.state("tiny") == ("not here", "")
        remote.parent.mkdir(parents=True)
        remote.write_bytes(CONTENT[:-1])
        assert weights.state("tiny") == ("damaged", "16,383 bytes instead of 16,384")


class TestMirrors:
    @pytest.fixture(autouse=True)
    def origin_out_of_reach(self, remote, monkeypatch):
        monkeypatch.setitem(weights.REMOTE, "tiny", Remote("http://nowhere.invalid/tiny.h5", SHA256, 16384, "MIT"))

    def test_takes_the_place_of_the_origin(self, server, monkeypatch):
        monkeypatch.setenv("LABUTILS_MIRROR", server.address + "/")
        assert weights.fetch("tiny").read_bytes() == CONTENT
        assert server.requests == ["/models/tiny.h5"]

    @pytest.mark.parametrize("form", ["path", "address"])
    def test_may_be_a_folder(self, tmp_path, monkeypatch, form):
        stick = tmp_path / "my stick, black"
        stick.mkdir()
        (stick / "tiny.h5").write_bytes(CONTENT)
        monkeypatch.setenv("LABUTILS_MIRROR", str(stick) if form == "path" else stick.as_uri())
        assert weights.fetch("tiny").read_bytes() == CONTENT

    @pytest.mark.parametrize("separator", [" ", ",", " , ", "\n"])
    def test_several_are_tried_in_order(self, server, monkeypatch, separator):
        with FileServer() as first:
            first.behaviour = "not found"
            monkeypatch.setenv("LABUTILS_MIRROR", separator.join([first.address, server.address]))
            assert weights.fetch("tiny").read_bytes() == CONTENT
            assert (len(first.requests), len(server.requests)) == (1, 1)

    def test_none_that_has_it_names_each(self, server, monkeypatch):
        server.behaviour = "not found"
        monkeypatch.setenv("LABUTILS_MIRROR", f"{server.address}/a {server.address}/b")
        with pytest.raises(
            WeightsError, match=r"/a/tiny\.h5: HTTP Error 404.* \| .*/b/tiny\.h5: HTTP Error 404"
        ) as raised:
            weights.fetch("tiny")
        assert "nowhere.invalid" not in str(raised.value)

    def test_neither_address_nor_folder(self, remote, monkeypatch):
        monkeypatch.setenv("LABUTILS_MIRROR", "mirror.uni.example/weights")
        with pytest.raises(WeightsError, match=r"'mirror\.uni\.example/weights', which is neither an address .* nor a"):
            weights.fetch("tiny")
        remote.parent.mkdir(parents=True)
        remote.write_bytes(CONTENT)
        assert weights.fetch("tiny") == remote  # It is not needed, so no matter.


class TestRecord:
    """Of a file with a digest of another kind, SHA-256 is written down when it is first found intact."""

    @pytest.fixture
    def remote(self, remote, server, monkeypatch):
        digest = "md5:" + hashlib.md5(CONTENT).hexdigest()
        monkeypatch.setitem(weights.REMOTE, "tiny", Remote(f"{server.address}/tiny.h5", digest, len(CONTENT), "MIT"))
        remote.parent.mkdir(parents=True)
        return remote

    @pytest.fixture
    def record(self, remote):
        return remote.with_name("tiny.h5.sha256")

    @pytest.mark.parametrize("act", [weights.fetch, weights.verify])
    def test_written_once_intact(self, remote, record, act):
        if act is weights.verify:
            remote.write_bytes(CONTENT)
        act("tiny")
        assert record.read_text() == f"{SHA256.removeprefix('sha256:')}  tiny.h5\n"

    def test_not_written_of_what_is_damaged(self, remote, record):
        remote.write_bytes(CONTENT[::-1])
        with pytest.raises(WeightsError, match="content does not match its digest"):
            weights.verify("tiny")
        assert not record.exists()

    def test_holds_from_then_on(self, remote, record, server, monkeypatch):
        remote.write_bytes(CONTENT)
        weights.verify("tiny")
        forged = CONTENT[::-1]
        remote.write_bytes(forged)
        # Another content of the same MD5 can be made on purpose; here the publisher's digest is made to fit it.
        md5 = "md5:" + hashlib.md5(forged).hexdigest()
        monkeypatch.setitem(weights.REMOTE, "tiny", replace(weights.REMOTE["tiny"], digest=md5))
        with pytest.raises(WeightsError, match=r"SHA-256 is not the one in tiny\.h5\.sha256"):
            weights.verify("tiny")
        server.content = forged
        weights.fetch("tiny")
        assert hashlib.sha256(forged).hexdigest() in record.read_text()

    @pytest.mark.parametrize("text", ["", "abc", "x" * 64, "\xff"])
    def test_unreadable_one_is_written_anew(self, remote, record, text):
        remote.write_bytes(CONTENT)
        record.write_bytes(text.encode("latin-1"))
        weights.verify("tiny")
        assert SHA256.removeprefix("sha256:") in record.read_text()

    def test_folder_that_may_only_be_read_does_without(self, remote, record):
        remote.write_bytes(CONTENT)
        record.mkdir()
        assert weights.verify("tiny") == remote

    def test_bundled_files_are_held_to_the_manifest(self, data):
        data.write_bytes(CONTENT[::-1])
        record = hashlib.sha256(data.read_bytes()).hexdigest() + "  small.h5\n"
        data.with_name("small.h5.sha256").write_text(record)
        with pytest.raises(WeightsError, match="content does not match its digest"):
            weights.verify("small")


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
        assert set(remote.parent.iterdir()) == {remote, remote.with_name(remote.name + ".sha256")}
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
            here.with_name(here.name + ".sha256").unlink(missing_ok=True)  # what it was last time does not count
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
            (b"<html>Not here</html>", "well", "what came is damaged and was removed: it is not a whole zip file"),
            (npz()[:-100], "well", "what came is damaged and was removed: it is not a whole zip file"),
            (
                npz().replace(b"\0\0\0\0\0\0\xf0?", b"\0\0\0\0\0\0\xf1?"),
                "well",
                "'head/kernel' does not match|'cls' does",
            ),
            (npz(), "not found", "404"),
        ],
    )
    def test_bad_server_leaves_nothing_behind(self, remote, server, content, behaviour, reason):
        server.content, server.behaviour = content, behaviour
        with pytest.raises(WeightsError, match=reason) as raised:
            weights.fetch(self.NAME)
        assert "cannot download ViT-B_16_imagenet21k+imagenet2012.npz (331 MB)" in str(raised.value)
        assert weights.find(self.NAME) is None
        assert list(remote.parent.iterdir()) == []

    def test_bad_server_leaves_the_old_file_alone(self, here, server):
        here.write_bytes(npz()[:-100])
        server.content = b"not a zip file"
        with pytest.raises(WeightsError):
            weights.fetch(self.NAME)
        assert here.read_bytes() == npz()[:-100]
