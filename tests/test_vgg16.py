"""VGG16: a drop-in for Keras's, whichever weights it was given."""

import hashlib
import json

import h5py
import keras
import numpy as np
import pytest

from labutils import pretrained, vgg16, weights
from labutils.vgg16 import VGG16, class_names, decode_predictions, preprocess_input
from labutils.weights import Remote, WeightsError


@pytest.fixture(scope="module")
def bundled():
    return VGG16(weights="bundled")


@pytest.fixture(scope="module")
def reference():
    """Keras's own VGG16, random."""
    return keras.applications.VGG16(weights=None)


@pytest.fixture(scope="module")
def sidecar():
    path = weights.find("vgg16")
    return json.loads(path.with_name(path.name.replace(".weights.h5", ".json")).read_text())


@pytest.fixture(autouse=True)
def forget_class_lists(monkeypatch):
    """Each test starts without the class lists that earlier ones registered."""
    monkeypatch.setattr(pretrained, "_classes_by_count", {})


@pytest.fixture
def photos():
    return np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3)).astype("float32")


def tiny(path, classes=4, seed=0):
    """Write a VGG16 of a few channels to `path`, with its sidecar; gives the model that was written."""
    architecture = vgg16.Architecture((2, 3, 4, 5, 6), (7, 8), classes)
    keras.utils.set_random_seed(seed)
    model = vgg16._build(architecture, True, None, (224, 224, 3), None, classes, "softmax", "vgg16")
    model.save_weights(path) if path.name.endswith(".weights.h5") else model.save(path)
    record = {
        "network": "vgg16",
        "channels": architecture.channels,
        "dense": architecture.dense,
        "classes": [[f"n{index:08}", f"thing {index}"] for index in range(classes)],
    }
    path.with_name(path.name.split(".")[0] + ".json").write_text(json.dumps(record))
    return model


def same_weights(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one.get_weights(), other.get_weights(), strict=True))


def write_legacy_weights(path, model):
    """A file as Keras distributes VGG16: full shapes, layer i filled with i / 1000, and next to no bytes on disk."""
    with h5py.File(path, "w") as file:
        layers = [layer for layer in model.layers if layer.weights]
        file.attrs["layer_names"] = [layer.name.encode() for layer in layers]
        for index, layer in enumerate(layers):
            group = file.create_group(layer.name)
            names = [f"{layer.name}_{kind}".encode() for kind in ("W_1:0", "b_1:0")]
            group.attrs["weight_names"] = names
            for name, variable in zip(names, layer.weights, strict=True):
                group.create_dataset(name, variable.shape, "float32", chunks=True, fillvalue=index / 1000)


def in_keras_cache(monkeypatch, tmp_path, name, write):
    """Put a file of our own in an empty Keras cache under the name of a known remote one."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    path = tmp_path / "models" / weights.REMOTE[name].file
    path.parent.mkdir(exist_ok=True)
    write(path)
    digest = "md5:" + hashlib.md5(path.read_bytes()).hexdigest()
    origin = "http://127.0.0.1:9/" + path.name  # Where nothing listens: the cache must be enough.
    monkeypatch.setitem(weights.REMOTE, name, Remote(origin, digest, path.stat().st_size, "test"))


class TestDropIn:
    def test_layers_and_predictions_equal_keras(self, reference, photos):
        model = VGG16(weights=None)
        for ours, theirs in zip(model.layers[1:], reference.layers[1:], strict=True):
            assert ours.get_config() == theirs.get_config()  # Name, activation, padding, widths ...
            assert ours.output.shape == theirs.output.shape
        model.set_weights(reference.get_weights())
        x = preprocess_input(photos[:1])
        np.testing.assert_array_equal(model.predict(x, verbose=0), reference.predict(x, verbose=0))

    @pytest.mark.parametrize("pooling", [None, "avg", "max"])
    @pytest.mark.parametrize("input_shape", [None, (96, 64, 3), (None, 32, 3)])
    def test_without_top_as_keras(self, pooling, input_shape):
        arguments = {"weights": None, "include_top": False, "pooling": pooling, "input_shape": input_shape}
        assert VGG16(**arguments).output_shape == keras.applications.VGG16(**arguments).output_shape

    def test_own_classes_shape_activation_and_name(self):
        model = VGG16(weights=None, classes=5, input_shape=(32, 32, 3), classifier_activation=None, name="mine")
        assert (model.output_shape, model.name) == ((None, 5), "mine")
        assert model.layers[-1].activation is keras.activations.linear

    def test_input_tensor_from_another_graph(self):
        start = keras.Input((64, 64, 3))
        model = VGG16(weights=None, include_top=False, input_tensor=keras.layers.Rescaling(2.0)(start))
        assert model.inputs[0] is start
        assert model.output_shape == (None, 2, 2, 512)

    def test_arguments_stand_in_keras_order(self):
        import inspect

        theirs = inspect.signature(keras.applications.VGG16).parameters
        assert list(inspect.signature(VGG16).parameters) == list(theirs)


class TestBundled:
    def test_is_a_narrow_vgg16(self, bundled, sidecar, reference):
        assert bundled.input_shape == (None, 224, 224, 3)
        assert bundled.output_shape == (None, len(sidecar["classes"]))
        assert [layer.name for layer in bundled.layers][1:] == [layer.name for layer in reference.layers][1:]
        assert [bundled.get_layer(f"block{b}_conv1").filters for b in range(1, 6)] == sidecar["channels"]
        assert bundled.get_layer("block5_conv3").output.shape[1:3] == (14, 14)

    def test_is_float32_and_not_compiled(self, bundled):
        assert {variable.dtype for variable in bundled.variables} == {"float32"}
        assert not bundled.compiled

    def test_gives_probabilities(self, bundled, photos):
        probabilities = bundled.predict(preprocess_input(photos), verbose=0)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)

    def test_logits_on_request(self, bundled, photos):
        logits = VGG16(weights="bundled", classifier_activation=None)
        x = preprocess_input(photos)
        expected = bundled.predict(x, verbose=0)
        np.testing.assert_allclose(keras.ops.softmax(logits.predict(x, verbose=0)), expected, rtol=1e-4, atol=1e-7)

    def test_without_top_has_the_same_convolutions(self, bundled, photos):
        headless = VGG16(weights="bundled", include_top=False)
        x = preprocess_input(photos)
        maps = keras.Model(bundled.inputs, bundled.get_layer("block5_pool").output).predict(x, verbose=0)
        np.testing.assert_array_equal(headless.predict(x, verbose=0), maps)
        assert headless.predict(x[:, :96, :64], verbose=0).shape == (2, 3, 2, maps.shape[-1])

    def test_missing_bundled_weights_say_so(self, tmp_path, monkeypatch):
        monkeypatch.setenv("LABUTILS_DATA", str(tmp_path))
        with pytest.raises(WeightsError, match=r"bundled weights are not in .*LABUTILS_DATA"):
            VGG16(weights="bundled")


class TestAuto:
    def test_environment_decides_and_the_line_says_so(self, capsys, sidecar):
        VGG16()
        line = capsys.readouterr().out
        assert line.count("\n") == 1
        assert f"bundled weights, {len(sidecar['classes'])} classes" in line
        assert "weights='imagenet'" in line

    def test_named_weights_are_silent(self, capsys):
        VGG16(weights="bundled")
        assert capsys.readouterr().out == ""

    def test_bundled_where_keras_cache_is_empty(self, capsys, monkeypatch, tmp_path):
        monkeypatch.delenv("LABUTILS_WEIGHTS")
        monkeypatch.setenv("KERAS_HOME", str(tmp_path))
        VGG16()
        assert "bundled weights" in capsys.readouterr().out

    def test_imagenet_where_the_cache_has_it(self, capsys, monkeypatch, tmp_path, reference):
        in_keras_cache(monkeypatch, tmp_path, "vgg16-imagenet", lambda path: write_legacy_weights(path, reference))
        monkeypatch.delenv("LABUTILS_WEIGHTS")
        model = VGG16()
        assert "ImageNet weights, 1000 classes" in capsys.readouterr().out
        assert model.output_shape == (None, 1000)
        layers = [layer for layer in model.layers if layer.weights]
        for index, layer in enumerate(layers):
            for variable in layer.weights:
                assert np.ptp(variable.numpy()) == 0
                assert variable.numpy().flat[0] == np.float32(index / 1000)

    def test_half_an_imagenet_file_is_not_taken(self, capsys, monkeypatch, tmp_path):
        monkeypatch.delenv("LABUTILS_WEIGHTS")
        monkeypatch.setenv("KERAS_HOME", str(tmp_path))
        half = tmp_path / "models" / weights.REMOTE["vgg16-imagenet"].file
        half.parent.mkdir()
        half.write_bytes(b"half")
        VGG16()
        assert "bundled weights" in capsys.readouterr().out

    def test_environment_does_not_touch_a_named_choice(self, monkeypatch, tmp_path):
        monkeypatch.setenv("LABUTILS_WEIGHTS", "imagenet")
        assert VGG16(weights="bundled").output_shape[-1] != 1000

    def test_environment_with_a_wrong_value(self, monkeypatch):
        monkeypatch.setenv("LABUTILS_WEIGHTS", "imagnet")
        with pytest.raises(ValueError, match="LABUTILS_WEIGHTS must be 'bundled' or 'imagenet', not 'imagnet'"):
            VGG16()


class TestImagenet:
    def test_without_top_comes_from_its_own_file(self, monkeypatch, tmp_path):
        headless = keras.applications.VGG16(weights=None, include_top=False)
        in_keras_cache(monkeypatch, tmp_path, "vgg16-imagenet-notop", lambda path: write_legacy_weights(path, headless))
        model = VGG16(weights="imagenet", include_top=False, pooling="max")
        assert model.get_layer("block5_conv3").get_weights()[1][0] == np.float32(12 / 1000)

    def test_out_of_reach_says_what_to_do(self, monkeypatch, tmp_path):
        monkeypatch.setenv("KERAS_HOME", str(tmp_path))
        monkeypatch.setenv("LABUTILS_MIRROR", "http://127.0.0.1:9")
        with pytest.raises(WeightsError, match=r"cannot download vgg16_weights.*weights='bundled'"):
            VGG16(weights="imagenet")


class TestPath:
    def test_weights_with_sidecar(self, tmp_path):
        written = tiny(tmp_path / "net.weights.h5")
        model = VGG16(weights=tmp_path / "net.weights.h5")
        assert same_weights(model, written)
        assert class_names(model) == [f"thing {index}" for index in range(4)]

    def test_float16_file_fills_float32_variables(self, tmp_path):
        written = tiny(tmp_path / "net.weights.h5")
        with h5py.File(tmp_path / "net.weights.h5", "r+") as file:
            names = []
            file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
            for name in names:
                values = file[name][()]
                del file[name]
                file[name] = values.astype("float16")
        model = VGG16(weights=str(tmp_path / "net.weights.h5"))
        for ours, original in zip(model.get_weights(), written.get_weights(), strict=True):
            assert ours.dtype == np.float32
            np.testing.assert_array_equal(ours, original.astype("float16").astype("float32"))

    def test_weights_without_sidecar_must_have_keras_widths(self, tmp_path):
        tiny(tmp_path / "net.weights.h5")
        (tmp_path / "net.json").unlink()
        with pytest.raises(ValueError, match=r"net\.weights\.h5 does not hold .* 64 to 512 channels and 1000 outputs"):
            VGG16(weights=tmp_path / "net.weights.h5")

    def test_file_that_lacks_a_layer(self, tmp_path):
        tiny(tmp_path / "net.weights.h5")
        with h5py.File(tmp_path / "net.weights.h5", "r+") as file:
            del file["layers/dense_1"]
        with pytest.raises(ValueError, match=r"does not hold the weights of a VGG16 with 2 to 6 channels"):
            VGG16(weights=tmp_path / "net.weights.h5")

    def test_weights_of_keras_width_need_no_sidecar(self, tmp_path):
        headless = keras.applications.VGG16(weights=None, include_top=False)
        headless.save_weights(tmp_path / "mine.weights.h5")
        assert same_weights(VGG16(weights=tmp_path / "mine.weights.h5", include_top=False), headless)

    def test_whole_keras_file(self, tmp_path):
        written = tiny(tmp_path / "net.keras")
        model = VGG16(weights=tmp_path / "net.keras", name="again")
        assert same_weights(model, written)
        assert model.name == "again"
        assert class_names(4)[0] == "thing 0"
        headless = VGG16(weights=tmp_path / "net.keras", include_top=False)
        assert headless.output_shape == (None, None, None, 6)

    def test_whole_keras_file_without_sidecar(self, tmp_path):
        tiny(tmp_path / "net.keras", classes=3)
        (tmp_path / "net.json").unlink()
        assert VGG16(weights=tmp_path / "net.keras").output_shape == (None, 3)

    def test_keras_file_of_another_model(self, tmp_path):
        keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(tmp_path / "mlp.keras")
        with pytest.raises(ValueError, match=r"mlp\.keras holds a Keras model that is not a VGG16 .*'block1_conv1'"):
            VGG16(weights=tmp_path / "mlp.keras")

    def test_file_that_is_no_model(self, tmp_path):
        (tmp_path / "text.keras").write_text("hello")
        (tmp_path / "text.h5").write_text("hello")
        with pytest.raises(ValueError, match=r"text\.keras is not a model that Keras can load"):
            VGG16(weights=tmp_path / "text.keras")
        with pytest.raises(ValueError, match=r"text\.h5 does not hold the weights"):
            VGG16(weights=tmp_path / "text.h5")

    @pytest.mark.parametrize("text", ["{", "[]", "{}", '{"network": "vit"}'])
    def test_broken_sidecar_is_named(self, tmp_path, text):
        tiny(tmp_path / "net.weights.h5")
        (tmp_path / "net.json").write_text(text)
        with pytest.raises(ValueError, match=r"net\.json does not describe a VGG16"):
            VGG16(weights=tmp_path / "net.weights.h5")

    def test_sidecar_and_outputs_must_agree(self, tmp_path):
        tiny(tmp_path / "net.keras", classes=4)
        tiny(tmp_path / "other.keras", classes=5)
        (tmp_path / "other.json").replace(tmp_path / "net.json")
        with pytest.raises(ValueError, match=r"has 4 outputs, but the \.json beside it lists 5 classes"):
            VGG16(weights=tmp_path / "net.keras")


class TestBadArguments:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"weights": "imagnet"}, "weights must be 'auto', 'bundled', 'imagenet', the path"),
            ({"weights": 3}, "weights must be 'auto', .* not 3"),
            ({"include_top": "bundled"}, "include_top must be True or False, not 'bundled'; weights are named"),
            ({"weights": "bundled", "classes": 7}, "classes, not classes=7"),
            ({"weights": None, "classes": 0}, "classes must be at least 1"),
            ({"weights": "bundled", "classifier_activation": "relu"}, "must be 'softmax' or None"),
            ({"weights": "bundled", "input_shape": (96, 96, 3)}, r"take input_shape \(224, 224, 3\)"),
            ({"weights": "bundled", "include_top": False, "input_shape": (96, 96, 1)}, "3 colour channels"),
            ({"weights": None, "include_top": False, "input_shape": (31, 96, 3)}, "at least 32 x 32"),
            ({"weights": None, "input_shape": (None, 96, 3)}, "every side"),
            ({"weights": None, "input_shape": (96, 96)}, r"\(height, width, channels\)"),
            ({"weights": None, "include_top": False, "pooling": "mean"}, "pooling must be None, 'avg' or 'max'"),
        ],
    )
    def test_is_named_with_what_is_possible(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            VGG16(**arguments)


class TestPreprocessing:
    @pytest.mark.parametrize("dtype", ["uint8", "int64", "float32", "float64"])
    def test_equals_keras(self, photos, dtype):
        x = photos.astype(dtype)
        expected = keras.applications.vgg16.preprocess_input(x.copy())
        ours = preprocess_input(x.copy())
        assert ours.dtype == expected.dtype
        np.testing.assert_array_equal(ours, expected)

    def test_closed_form(self):
        grey = preprocess_input(np.full((1, 1, 3), 128, dtype="uint8"))
        np.testing.assert_allclose(grey[0, 0], [128 - 103.939, 128 - 116.779, 128 - 123.68], rtol=1e-6)

    def test_floats_change_in_place_and_integers_do_not(self, photos):
        floats, integers = photos.copy(), photos.astype("uint8")
        preprocess_input(floats)
        preprocess_input(integers)
        assert not np.array_equal(floats, photos)
        np.testing.assert_array_equal(integers, photos)


class TestDecoding:
    def test_bundled_columns(self, bundled, sidecar):
        count = len(sidecar["classes"])
        predictions = np.eye(count, dtype="float32")[[3, 1]] * 0.5 + 0.01
        decoded = decode_predictions(predictions, top=2)
        assert [photo[0][:2] for photo in decoded] == [tuple(sidecar["classes"][3]), tuple(sidecar["classes"][1])]
        assert [len(photo) for photo in decoded] == [2, 2]
        assert decoded[0][0][2] == np.float32(0.51)
        assert class_names(bundled) == class_names(count) == [name for _, name in sidecar["classes"]]

    def test_imagenet_columns_equal_keras(self, monkeypatch, tmp_path):
        index = {str(i): [f"n{i:08}", f"name_{i}"] for i in range(1000)}
        in_keras_cache(monkeypatch, tmp_path, "imagenet-classes", lambda path: path.write_text(json.dumps(index)))
        monkeypatch.setattr("keras.src.applications.imagenet_utils.CLASS_INDEX", index)
        predictions = np.random.default_rng(0).random((3, 1000), dtype="float32")
        predictions[1, :4] = 0.9999  # Ties must come in the same order too.
        for top in (1, 5, 2000):
            expected = keras.applications.vgg16.decode_predictions(predictions, top=top)
            assert decode_predictions(predictions, top=top) == expected

    def test_tensors_are_taken(self, sidecar):
        predictions = keras.ops.one_hot([2], len(sidecar["classes"]))
        assert decode_predictions(predictions, top=1)[0][0][1] == sidecar["classes"][2][1]

    def test_class_names_of_imagenet_out_of_reach(self, monkeypatch, tmp_path):
        monkeypatch.setenv("KERAS_HOME", str(tmp_path))
        monkeypatch.setenv("LABUTILS_MIRROR", "http://127.0.0.1:9")
        with pytest.raises(WeightsError, match=r"cannot download imagenet_class_index\.json"):
            decode_predictions(np.ones((1, 1000)))

    def test_path_weights_bring_their_names(self, tmp_path):
        tiny(tmp_path / "net.weights.h5")
        VGG16(weights=tmp_path / "net.weights.h5")
        assert decode_predictions(np.array([[0.1, 0.2, 0.6, 0.1]]), top=1) == [[("n00000002", "thing 2", 0.6)]]

    @pytest.mark.parametrize("shape", [(1000,), (1, 2, 1000), ()])
    def test_wrong_number_of_axes(self, shape):
        with pytest.raises(ValueError, match="expects a batch of predictions"):
            decode_predictions(np.zeros(shape))

    def test_unknown_number_of_columns(self):
        with pytest.raises(ValueError, match=r"no class list has 17 names \(known: .*1000\)"):
            decode_predictions(np.zeros((1, 17)))

    def test_top_below_one(self, sidecar):
        with pytest.raises(ValueError, match="top must be at least 1"):
            decode_predictions(np.zeros((1, len(sidecar["classes"]))), top=0)
