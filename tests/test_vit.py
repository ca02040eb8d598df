"""The ViT: vit-keras's numbers from the same checkpoint, one network whichever form its weights come in, clear errors."""

import gc
import json
import math

import h5py
import keras
import numpy as np
import pytest

from labutils import pretrained, vit, weights
from labutils.explain import attention
from labutils.vit import Architecture, ViT, build_network, class_names, decode_predictions, preprocess_input
from labutils.weights import WeightsError

SMALL = Architecture(patch=16, width=24, depth=3, heads=3, hidden=40, outputs=7)
SMALL_SIDE = 64  # 4 x 4 patches


@pytest.fixture(autouse=True)
def forget_class_lists(monkeypatch):
    """Each test starts without the class lists that earlier ones registered."""
    monkeypatch.setattr(pretrained, "_classes_by_count", {})


def checkpoint(architecture=SMALL, side=SMALL_SIDE, seed=0):
    """Random arrays with the names and shapes of ViT-B_16_imagenet21k+imagenet2012.npz, for photos of `side` pixels."""
    rng = np.random.default_rng(seed)
    width, heads, hidden = architecture.width, architecture.heads, architecture.hidden

    def normal(*shape, spread=0.2):
        return spread * rng.standard_normal(shape, dtype="float32")

    def kernel(*shape, inputs):
        return normal(*shape, spread=1.5 / math.sqrt(inputs))

    def norm(name):
        return {f"{name}/scale": 1 + normal(width), f"{name}/bias": normal(width)}

    patches = (side // architecture.patch) ** 2
    pixels = (architecture.patch, architecture.patch, 3)
    arrays = {
        "cls": normal(1, 1, width),
        "embedding/kernel": kernel(*pixels, width, inputs=math.prod(pixels)),
        "embedding/bias": normal(width),
        "Transformer/posembed_input/pos_embedding": normal(1, patches + 1, width, spread=0.5),
    }
    for number in range(architecture.depth):
        block = f"Transformer/encoderblock_{number}"
        attention = f"{block}/MultiHeadDotProductAttention_1"
        arrays |= norm(f"{block}/LayerNorm_0")
        for part in ("query", "key", "value"):
            arrays[f"{attention}/{part}/kernel"] = kernel(width, heads, width // heads, inputs=width)
            arrays[f"{attention}/{part}/bias"] = normal(heads, width // heads)
        arrays[f"{attention}/out/kernel"] = kernel(heads, width // heads, width, inputs=width)
        arrays[f"{attention}/out/bias"] = normal(width)
        arrays |= norm(f"{block}/LayerNorm_2")
        arrays[f"{block}/MlpBlock_3/Dense_0/kernel"] = kernel(width, hidden, inputs=width)
        arrays[f"{block}/MlpBlock_3/Dense_0/bias"] = normal(hidden)
        arrays[f"{block}/MlpBlock_3/Dense_1/kernel"] = kernel(hidden, width, inputs=hidden)
        arrays[f"{block}/MlpBlock_3/Dense_1/bias"] = normal(width)
    arrays |= norm("Transformer/encoder_norm")
    arrays["head/kernel"] = kernel(width, architecture.outputs, inputs=width)
    arrays["head/bias"] = normal(architecture.outputs)
    return arrays


@pytest.fixture
def npz(tmp_path):
    np.savez(tmp_path / "small.npz", **checkpoint())
    return tmp_path / "small.npz"


def images(height=SMALL_SIDE, width=SMALL_SIDE, count=2):
    return np.random.default_rng(1).uniform(-1, 1, (count, height, width, 3)).astype("float32")


def logits_of(path, size, **arguments):
    return ViT(weights=path, input_shape=(*size, 3), classifier_activation=None, **arguments)


def described(path, architecture):
    """Write the .json beside a weights file."""
    record = {"network": "vit", **{key: getattr(architecture, key) for key in ("stem", "patch", "width", "depth")}}
    record |= {"heads": architecture.heads, "hidden": architecture.hidden}
    record["classes"] = [[f"n{index:08}", f"thing {index}"] for index in range(architecture.outputs)]
    path.with_name(path.name.split(".")[0] + ".json").write_text(json.dumps(record))


def same_weights(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one.get_weights(), other.get_weights(), strict=True))


class TestAgainstVitKeras:
    """The equality that stands in for the download: one file, loaded by vit-keras and by us."""

    def compare(self, path, architecture, size, weights=None, count=2, **arguments):
        """Load `path` by vit-keras, and here `path` too or `weights`; compare logits and attention."""
        build, utils = pytest.importorskip("vit_keras.vit"), pytest.importorskip("vit_keras.utils")
        from vit_keras.layers import TransformerBlock

        theirs = build.build_model(
            image_size=size,
            patch_size=architecture.patch,
            num_layers=architecture.depth,
            hidden_size=architecture.width,
            num_heads=architecture.heads,
            mlp_dim=architecture.hidden,
            classes=architecture.outputs,
            name="theirs",
        )
        rows, columns = (side // architecture.patch for side in size)
        utils.load_weights_numpy(theirs, path, True, num_x_patches=columns, num_y_patches=rows)
        layers = [layer.output[1] for layer in theirs.layers if isinstance(layer, TransformerBlock)]
        x = images(*size, count)
        logits, *theirs = keras.Model(theirs.inputs, [theirs.output, *layers]).predict(x, verbose=0)
        keras.backend.clear_session()
        gc.collect()

        ours = logits_of(weights or path, size, **arguments)
        assert np.std(logits) > 0.1  # Else anything would be equal.
        np.testing.assert_allclose(ours.predict(x, verbose=0), logits, atol=1e-4)
        assert np.std(theirs) > 1 / np.shape(theirs)[-1] / 10
        np.testing.assert_allclose(attention(ours, x), np.stack(theirs), atol=1e-4)

    @pytest.mark.parametrize("size", [(64, 64), (96, 96), (48, 80), (80, 48)])
    @pytest.mark.filterwarnings("ignore:Resizing position embeddings")
    @pytest.mark.filterwarnings("error:Did not use the following weights")
    @pytest.mark.filterwarnings("error:Only set")
    def test_small(self, npz, size):
        self.compare(npz, SMALL, size)

    @pytest.mark.filterwarnings("ignore:Resizing position embeddings")
    @pytest.mark.filterwarnings("error:Did not use the following weights")
    @pytest.mark.parametrize("variant", ["B/16", "B/32"])
    def test_true_sizes(self, variant, monkeypatch, tmp_path):
        """As the real files: positions of 384 x 384 photos, resized to 224 x 224; found in Keras's cache by name."""
        architecture = vit.VARIANTS[variant]
        name = "vit-" + variant.lower().replace("/", "") + "-imagenet"
        monkeypatch.setenv("KERAS_HOME", str(tmp_path))
        monkeypatch.setenv("LABUTILS_MIRROR", "http://127.0.0.1:9")
        path = weights.files()[name].path
        path.parent.mkdir()
        arrays = checkpoint(architecture, side=384)
        assert sum(array.nbytes for array in arrays.values()) == weights.REMOTE[name].bytes
        np.savez(path, **arrays)
        del arrays
        self.compare(path, architecture, (224, 224), weights="imagenet", count=1, variant=variant)
        path.unlink()  # 350 MB, which pytest would keep.


# The same once more by hand, for every Python: the paper's equations 1 to 4 ----------------------------------------------


def normalised(x, scale, bias):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6) * scale + bias


def by_hand(arrays, image, patch=16):
    """Logits and every layer's attention of one image whose patches are those of the positions; in loops and float64."""
    arrays = {key: array.astype("float64") for key, array in arrays.items()}
    tokens = [arrays["cls"][0, 0]]
    for top in range(0, image.shape[0], patch):
        for left in range(0, image.shape[1], patch):
            pixels = image[top : top + patch, left : left + patch].reshape(-1)
            kernel = arrays["embedding/kernel"].reshape(len(pixels), -1)
            tokens.append(pixels @ kernel + arrays["embedding/bias"])
    x = np.array(tokens) + arrays["Transformer/posembed_input/pos_embedding"][0]
    maps = []
    depth = sum(key.endswith("LayerNorm_0/scale") for key in arrays)
    for number in range(depth):
        block = {
            key.split("/", 2)[2]: array
            for key, array in arrays.items()
            if key.startswith(f"Transformer/encoderblock_{number}/")
        }
        y = normalised(x, block["LayerNorm_0/scale"], block["LayerNorm_0/bias"])
        part = {
            name: block[f"MultiHeadDotProductAttention_1/{name}/kernel"] for name in ("query", "key", "value", "out")
        }
        bias = {name: block[f"MultiHeadDotProductAttention_1/{name}/bias"] for name in part}
        heads, size = bias["query"].shape
        mixed, layer = bias["out"].copy() + np.zeros_like(x), []
        for head in range(heads):
            query, key, value = (y @ part[name][:, head] + bias[name][head] for name in ("query", "key", "value"))
            scores = np.exp(query @ key.T / math.sqrt(size))
            scores /= scores.sum(axis=1, keepdims=True)
            layer.append(scores)
            mixed += scores @ value @ part["out"][head]
        maps.append(layer)
        x = x + mixed
        y = normalised(x, block["LayerNorm_2/scale"], block["LayerNorm_2/bias"])
        y = y @ block["MlpBlock_3/Dense_0/kernel"] + block["MlpBlock_3/Dense_0/bias"]
        y *= np.vectorize(lambda value: (1 + math.erf(value / math.sqrt(2))) / 2)(y)
        x = x + y @ block["MlpBlock_3/Dense_1/kernel"] + block["MlpBlock_3/Dense_1/bias"]
    x = normalised(x, arrays["Transformer/encoder_norm/scale"], arrays["Transformer/encoder_norm/bias"])
    return x[0] @ arrays["head/kernel"] + arrays["head/bias"], np.array(maps), x


def test_equals_the_paper_by_hand(npz):
    model, x = logits_of(npz, (64, 64)), images()
    tokens = ViT(weights=npz, include_top=False, input_shape=(64, 64, 3))
    for index, image in enumerate(x):
        logits, maps, last = by_hand(checkpoint(), image)
        np.testing.assert_allclose(model.predict(x, verbose=0)[index], logits, atol=1e-4)
        np.testing.assert_allclose(attention(model, x)[:, index], maps, atol=1e-5)
        np.testing.assert_allclose(tokens.predict(x, verbose=0)[index], last, atol=1e-4)


class TestPositions:
    """Resized linearly, the corners kept in their places, rows and columns each by their own factor."""

    @staticmethod
    def of(model):
        return model.get_layer("position_embedding").get_weights()[0][0]

    @pytest.mark.parametrize(
        ("size", "expected"),
        [
            ((32, 32), [[0, 1], [2, 3]]),
            ((48, 48), [[0, 0.5, 1], [1, 1.5, 2], [2, 2.5, 3]]),
            ((32, 48), [[0, 0.5, 1], [2, 2.5, 3]]),
            ((48, 32), [[0, 1], [1, 2], [2, 3]]),
            ((16, 64), [[0, 1 / 3, 2 / 3, 1]]),  # As many patches as there are positions, on another grid.
            ((64, 16), [[0], [2 / 3], [4 / 3], [2]]),
            ((16, 16), [[0]]),
        ],
    )
    def test_closed_form(self, tmp_path, size, expected):
        arrays = checkpoint(side=32)
        ramp = np.array([-5, 0, 1, 2, 3], "float32")  # The class token's, then the patches', row by row
        arrays["Transformer/posembed_input/pos_embedding"] = np.tile(ramp[:, np.newaxis], 24)[np.newaxis]
        np.savez(tmp_path / "ramp.npz", **arrays)
        positions = self.of(logits_of(tmp_path / "ramp.npz", size))
        np.testing.assert_allclose(positions[:, 7], [-5, *np.ravel(expected)], atol=1e-6)

    @pytest.mark.parametrize("kind", ["net.weights.h5", "net.keras"])
    def test_of_every_kind_of_file(self, npz, kind):
        """A file that Keras wrote at 64 x 64 gives at any other size what the checkpoint itself gives there."""
        path = npz.with_name(kind)
        original = logits_of(npz, (64, 64))
        original.save_weights(path) if kind.endswith(".weights.h5") else original.save(path)
        described(path, SMALL)
        for size in [(64, 64), (96, 96), (48, 80), (16, 256)]:
            assert same_weights(logits_of(path, size), logits_of(npz, size))

    def test_file_of_photos_that_are_not_square(self, npz):
        path = npz.with_name("net.weights.h5")
        written = logits_of(npz, (48, 80))
        written.save_weights(path)
        described(path, SMALL)
        assert same_weights(logits_of(path, (48, 80)), written)
        with pytest.raises(ValueError, match=r"net\.weights\.h5 has positions for 15 patches, which are no square"):
            logits_of(path, (64, 64))


class TestBuilding:
    def test_layers_in_order(self):
        model = build_network(Architecture(((4, 5), (6,)), 16, 8, 2, 2, 12, 3), side=32)
        assert [layer.name for layer in model.layers[1:]] == [
            *("stem1_conv1", "stem1_conv2", "stem1_pool", "stem2_conv1", "stem2_pool"),
            *("patch_embedding", "patches", "class_token", "position_embedding"),
            *("block1_norm1", "block1_attention", "block1_add1", "block1_norm2"),
            *("block1_dense1", "block1_dense2", "block1_add2"),
            *("block2_norm1", "block2_attention", "block2_add1", "block2_norm2"),
            *("block2_dense1", "block2_dense2", "block2_add2"),
            *("norm", "class_output", "flatten", "predictions"),
        ]
        assert model.get_layer("patch_embedding").output.shape == (None, 2, 2, 8)
        assert model.output_shape == (None, 3)
        assert not model.compiled

    @pytest.mark.parametrize(("variant", "side", "numbers"), [("B/16", 384, 86_859_496), ("B/32", 384, 88_297_192)])
    def test_variants_have_the_published_number_of_parameters(self, variant, side, numbers):
        assert ViT(weights=None, variant=variant, input_shape=(side, side, 3)).count_params() == numbers

    def test_random_with_classes_shape_activation_and_name(self, monkeypatch):
        monkeypatch.setitem(vit.VARIANTS, "B/32", Architecture(patch=32, width=8, depth=1, heads=2, hidden=8))
        shape = {"input_shape": (64, 96, 3), "variant": "B/32"}
        model = ViT(weights=None, classes=5, classifier_activation=None, name="mine", **shape)
        assert (model.output_shape, model.name) == ((None, 5), "mine")
        assert model.layers[-1].activation is keras.activations.linear
        assert model.get_layer("patch_embedding").output.shape == (None, 2, 3, 8)
        assert ViT(weights=None, **shape).output_shape == (None, 1000)
        assert ViT(weights=None, include_top=False, **shape).output_shape == (None, 7, 8)

    def test_softmax_of_the_logits(self, npz):
        x = images()
        probabilities = ViT(weights=npz, input_shape=(64, 64, 3)).predict(x, verbose=0)
        expected = keras.ops.softmax(logits_of(npz, (64, 64)).predict(x, verbose=0))
        np.testing.assert_allclose(probabilities, expected, rtol=1e-4)

    def test_batch_gives_what_each_photo_gives(self, npz):
        model, x = logits_of(npz, (64, 64)), images()
        alone = np.concatenate([model.predict(image[np.newaxis], verbose=0) for image in x])
        np.testing.assert_allclose(model.predict(x, verbose=0), alone, atol=1e-5)


class TestFiles:
    @pytest.fixture(params=["small.npz", "net.weights.h5", "net.keras"])
    def path(self, request, npz):
        """The same ViT in every form."""
        path = npz.with_name(request.param)
        if path != npz:
            original = logits_of(npz, (64, 64))
            original.save_weights(path) if path.name.endswith(".weights.h5") else original.save(path)
            described(path, SMALL)
        return path

    def test_same_network_from_every_form(self, path, npz):
        model = ViT(weights=str(path), input_shape=(64, 64, 3), name="again")
        assert same_weights(model, logits_of(npz, (64, 64)))
        assert model.name == "again"

    @pytest.mark.parametrize("size", [(64, 64), (48, 80)])
    def test_without_top_gives_the_tokens(self, path, size):
        headless = ViT(weights=path, include_top=False, input_shape=(*size, 3))
        full, x = logits_of(path, size), images(*size)
        tokens = keras.Model(full.inputs, full.get_layer("norm").output).predict(x, verbose=0)
        np.testing.assert_array_equal(headless.predict(x, verbose=0), tokens)

    def test_number_of_classes_is_the_file_s(self, path):
        assert ViT(weights=path, classes=7).output_shape == (None, 7)
        with pytest.raises(ValueError, match="these weights have 7 classes, not classes=5"):
            ViT(weights=path, classes=5)

    def test_variant_that_the_file_is_not(self, path):
        with pytest.raises(
            ValueError, match=r"variant: .* is no B/16; it has patches of 16 pixels, 3 blocks of width 24"
        ):
            ViT(weights=path, variant="B/16")

    def test_names_of_the_classes(self, path):
        ViT(weights=path)
        if path.suffix == ".npz":  # which has none
            with pytest.raises(ValueError, match="no class list has 7 names"):
                decode_predictions(np.eye(7)[:1])
        else:
            assert decode_predictions(np.eye(7)[[3]], top=1) == [[("n00000003", "thing 3", 1.0)]]
            assert class_names(7)[6] == "thing 6"

    def test_size_of_a_keras_file_is_that_it_was_saved_with(self, npz):
        logits_of(npz, (48, 80)).save(npz.with_name("net.keras"))
        assert ViT(weights=npz.with_name("net.keras")).input_shape == (None, 48, 80, 3)
        assert ViT(weights=npz).input_shape == (None, 224, 224, 3)

    def test_keras_file_keeps_the_stem(self, tmp_path):
        hybrid = build_network(Architecture(((4, 5), (6,)), 16, 8, 2, 2, 12, 3), side=32)
        hybrid.save(tmp_path / "hybrid.keras")
        model = ViT(weights=tmp_path / "hybrid.keras")
        assert [layer.name for layer in model.layers][1:] == [layer.name for layer in hybrid.layers][1:]
        assert same_weights(model, hybrid)

    def test_headless_files(self, npz):
        """Saved without a top, loaded without one; with one, it says what is missing."""
        headless = ViT(weights=npz, include_top=False, input_shape=(64, 64, 3))
        for name in ("body.keras", "body.weights.h5"):
            path = npz.with_name(name)
            headless.save(path) if name.endswith(".keras") else headless.save_weights(path)
            described(path, SMALL)
            again = ViT(weights=path, include_top=False, input_shape=(64, 64, 3))
            assert same_weights(again, headless)
        with pytest.raises(ValueError, match=r"body\.keras .*no layer 'predictions'"):
            ViT(weights=npz.with_name("body.keras"))
        with pytest.raises(ValueError, match=r"body\.weights\.h5 does not hold the weights of a ViT .* 7 outputs"):
            ViT(weights=npz.with_name("body.weights.h5"))

    def test_weights_without_sidecar_are_of_the_variant(self, tmp_path, monkeypatch):
        monkeypatch.setitem(vit.VARIANTS, "B/32", Architecture(patch=32, width=8, depth=1, heads=2, hidden=8))
        path = tmp_path / "mine.weights.h5"
        written = ViT(weights=None, variant="B/32", classes=5)
        written.save_weights(path)
        assert same_weights(ViT(weights=path, variant="B/32", classes=5), written)
        assert ViT(weights=path, variant="B/32", classes=5, input_shape=(64, 64, 3)).output_shape == (None, 5)
        with pytest.raises(ValueError, match=r"does not hold .* 1 blocks of width 8 .* and 1000 outputs"):
            ViT(weights=path, variant="B/32")

    def test_keras_loads_it_once_the_layers_are_known(self, npz):
        import labutils.vit_layers  # noqa: F401

        written = logits_of(npz, (64, 64))
        written.save(npz.with_name("net.keras"))
        again = keras.models.load_model(npz.with_name("net.keras"))
        np.testing.assert_array_equal(again.predict(images(), verbose=0), written.predict(images(), verbose=0))


class TestBadFiles:
    def changed(self, path, **changes):
        """The small checkpoint with some arrays changed by a function, or taken out with None."""
        arrays = checkpoint()
        for name, change in changes.items():
            (key,) = [key for key in arrays if key.endswith(name.replace("__", "/"))]
            if change is None:
                del arrays[key]
            else:
                arrays[key] = change(arrays[key])
        np.savez(path, **arrays)
        return path

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"cls": None}, "is not a ViT checkpoint in the form that vit-keras distributes: it has no 'cls'"),
            ({"head__kernel": None}, "it has no 'head/kernel'"),
            (
                {"encoderblock_0__MlpBlock_3__Dense_0__kernel": None},
                "no 'Transformer/encoderblock_0/MlpBlock_3/Dense_0/k",
            ),
            ({"head__bias": None}, "does not fit a ViT at 'head/kernel' .*'head/bias'"),
            ({"encoderblock_2__LayerNorm_2__bias": None}, "at 'Transformer/encoderblock_2/LayerNorm_2/scale'"),
            (
                {"encoderblock_1__MlpBlock_3__Dense_1__kernel": np.transpose},
                "block_1/MlpBlock_3/Dense_1/kernel' .*shape",
            ),
            ({"pos_embedding": lambda p: p[:, 1:]}, r"pos_embedding': shape \(1, 16, 24\) is not \(1, tokens, width\)"),
            ({"pos_embedding": lambda p: p[:, :1]}, r"pos_embedding': shape \(1, 1, 24\)"),
            ({"pos_embedding": lambda p: p[0]}, r"pos_embedding': shape \(17, 24\)"),
            ({"pos_embedding": lambda p: p[..., 1:]}, r"pos_embedding': shape \(1, 17, 23\)"),
            (
                {"encoderblock_0__MultiHeadDotProductAttention_1__query__kernel": np.ravel},
                "shapes of its arrays do not",
            ),
        ],
    )
    def test_checkpoint_says_where(self, tmp_path, changes, message):
        path = self.changed(tmp_path / "bad.npz", **changes)
        with pytest.raises(ValueError, match=rf"bad\.npz .*{message}"):
            logits_of(path, (64, 64))

    def test_block_missing_in_the_middle(self, tmp_path):
        arrays = {key: array for key, array in checkpoint().items() if "encoderblock_1" not in key}
        np.savez(tmp_path / "bad.npz", **arrays)
        with pytest.raises(ValueError, match=r"bad\.npz does not fit a ViT at 'Transformer/encoderblock_1/LayerNorm_0"):
            logits_of(tmp_path / "bad.npz", (64, 64))

    def test_checkpoint_before_fine_tuning(self, tmp_path):
        np.savez(tmp_path / "21k.npz", **checkpoint(), **{"pre_logits/kernel": np.eye(24)})
        with pytest.raises(ValueError, match=r"21k\.npz is a checkpoint of ImageNet-21k before fine-tuning"):
            ViT(weights=tmp_path / "21k.npz")

    def test_other_arrays_and_no_arrays(self, tmp_path):
        np.savez(tmp_path / "other.npz", a=np.ones(3))
        with pytest.raises(ValueError, match=r"other\.npz is not a ViT checkpoint .* no 'embedding/kernel'"):
            ViT(weights=tmp_path / "other.npz")
        (tmp_path / "text.npz").write_text("hello")
        (tmp_path / "text.keras").write_text("hello")
        (tmp_path / "text.weights.h5").write_text("hello")
        for name, message in [
            ("text.npz", "is not an .npz of arrays"),
            ("text.keras", "is not a model that Keras can load"),
            ("text.weights.h5", "does not hold the weights of a ViT with patches of 16 pixels, 12 blocks of width 768"),
        ]:
            with pytest.raises(ValueError, match=message):
                ViT(weights=tmp_path / name)

    def test_keras_file_of_another_model(self, tmp_path):
        keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(tmp_path / "mlp.keras")
        with pytest.raises(ValueError, match=r"mlp\.keras .* not a ViT of labutils \(no layer 'patch_embedding'\)"):
            ViT(weights=tmp_path / "mlp.keras")

    def test_weights_file_that_lacks_a_layer(self, npz):
        path = npz.with_name("net.weights.h5")
        logits_of(npz, (64, 64)).save_weights(path)
        described(path, SMALL)
        with h5py.File(path, "r+") as file:
            del file["layers/dense_3"]
        with pytest.raises(ValueError, match=r"net\.weights\.h5 does not hold the weights of a ViT with .* 3 heads"):
            ViT(weights=path)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda record: [], "list indices"),
            (lambda record: record | {"network": "vgg16"}, "the network is 'vgg16', not 'vit'"),
            (lambda record: record | {"heads": 5}, "heads must divide the width, 24; 5 does not"),
            (lambda record: record | {"depth": 0}, "depth must be at least 1, not 0"),
            (lambda record: record | {"stem": [[4]] * 5}, "patch must be a multiple of 32"),
            (lambda record: {key: record[key] for key in record if key != "hidden"}, "'hidden'"),
        ],
    )
    def test_broken_sidecar_is_named(self, npz, change, message):
        path, sidecar = npz.with_name("net.weights.h5"), npz.with_name("net.json")
        logits_of(npz, (64, 64)).save_weights(path)
        described(path, SMALL)
        sidecar.write_text(json.dumps(change(json.loads(sidecar.read_text()))))
        with pytest.raises(ValueError, match=rf"net\.json does not describe a ViT .*{message}"):
            ViT(weights=path)

    def test_sidecar_and_outputs_must_agree(self, npz):
        logits_of(npz, (64, 64)).save(npz.with_name("net.keras"))
        described(npz.with_name("net.keras"), Architecture(outputs=5))
        with pytest.raises(ValueError, match=r"net\.keras has 7 outputs, but the \.json beside it lists 5 classes"):
            ViT(weights=npz.with_name("net.keras"))


class TestChoice:
    """Bundled or ImageNet's, with tiny files in the places of both."""

    @pytest.fixture(autouse=True)
    def places(self, tmp_path, monkeypatch):
        from hashlib import sha256

        models = tmp_path / "data" / "models"
        models.mkdir(parents=True)
        path = models / "vit.weights.h5"
        hybrid = Architecture(((4,), (6,)), patch=32, width=8, depth=2, heads=2, hidden=12, outputs=3)
        build_network(hybrid).save_weights(path)
        described(path, hybrid)
        entry = {"file": path.name, "sha256": sha256(path.read_bytes()).hexdigest(), "bytes": path.stat().st_size}
        (models / "manifest.json").write_text(json.dumps({"vit": entry | {"licence": "MIT", "origin": "a test"}}))
        monkeypatch.setenv("LABUTILS_DATA", str(models.parent))
        monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
        monkeypatch.setenv("LABUTILS_MIRROR", "http://127.0.0.1:9")
        monkeypatch.delenv("LABUTILS_WEIGHTS")
        self.cache = tmp_path / "keras" / "weights"
        self.models = models

    def put_imagenet(self, variant="B_16", **sizes):
        self.cache.mkdir(parents=True, exist_ok=True)
        architecture = Architecture(width=8, depth=1, heads=2, hidden=8, **sizes)
        path = self.cache / f"ViT-{variant}_imagenet21k+imagenet2012.npz"
        np.savez(path, **checkpoint(architecture, side=384))
        return path

    def test_bundled_where_the_cache_is_empty(self, capsys):
        assert ViT().output_shape == (None, 3)
        line = capsys.readouterr().out
        assert line == (
            "ViT: bundled weights, 3 classes. ImageNet's 1000 classes: ViT(weights='imagenet'), a 331 MB download.\n"
        )
        assert class_names(3) == ["thing 0", "thing 1", "thing 2"]

    def test_imagenet_where_the_cache_has_it(self, capsys):
        self.put_imagenet()
        assert ViT().output_shape == (None, 1000)
        assert "ViT: ImageNet weights, 1000 classes." in capsys.readouterr().out

    def test_half_an_imagenet_file_is_not_taken(self, capsys):
        path = self.put_imagenet()
        path.write_bytes(path.read_bytes()[:-1000])
        assert ViT().output_shape == (None, 3)
        with pytest.raises(WeightsError, match=r"cannot download ViT-B_16.*331 MB.*weights='bundled'"):
            ViT(weights="imagenet")

    def test_variant_says_which_imagenet_file(self, capsys):
        self.put_imagenet("B_32", patch=32)
        assert ViT(weights="imagenet", variant="B/32").get_layer("patch_embedding").kernel_size == (32, 32)
        assert ViT(variant="B/32").output_shape == (None, 1000)
        assert ViT().output_shape == (None, 3)
        with pytest.raises(WeightsError, match=r"cannot download ViT-B_16_imagenet21k\+imagenet2012\.npz"):
            ViT(weights="imagenet")

    @pytest.mark.parametrize(("choice", "outputs"), [("bundled", 3), ("imagenet", 1000)])
    def test_environment_decides(self, choice, outputs, monkeypatch, capsys):
        self.put_imagenet()
        monkeypatch.setenv("LABUTILS_WEIGHTS", choice)
        assert ViT().output_shape == (None, outputs)
        assert capsys.readouterr().out.count("\n") == 1
        assert ViT(weights="bundled").output_shape == (None, 3)
        assert capsys.readouterr().out == ""

    def test_environment_with_a_wrong_value(self, monkeypatch):
        monkeypatch.setenv("LABUTILS_WEIGHTS", "imagnet")
        with pytest.raises(ValueError, match="LABUTILS_WEIGHTS must be 'bundled' or 'imagenet', not 'imagnet'"):
            ViT()

    def test_bundled_at_another_size_and_without_top(self):
        full = ViT(weights="bundled")
        assert full.input_shape == (None, 224, 224, 3)
        assert full.get_layer("patch_embedding").output.shape == (None, 7, 7, 8)
        wide = ViT(weights="bundled", include_top=False, input_shape=(64, 320, 3))
        assert wide.output_shape == (None, 21, 8)
        positions = [model.get_layer("position_embedding").get_weights()[0][0] for model in (full, wide)]
        np.testing.assert_allclose(positions[1][[0, 1, 10, 11, 20]], positions[0][[0, 1, 7, 43, 49]], atol=1e-6)

    def test_bundled_weights_that_are_not_there(self, monkeypatch, tmp_path):
        monkeypatch.setenv("LABUTILS_DATA", str(tmp_path))
        with pytest.raises(WeightsError, match=r"bundled weights are not in .*LABUTILS_DATA.*a 331 MB download"):
            ViT(weights="bundled")


class TestBadArguments:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"weights": "imagnet"}, "weights must be 'auto', 'bundled', 'imagenet', the path"),
            ({"weights": 3}, "weights must be 'auto', .* not 3"),
            ({"include_top": "bundled"}, "include_top must be True or False, not 'bundled'; weights are named"),
            ({"weights": None, "variant": "L/16"}, "variant must be one of 'B/16', 'B/32', not 'L/16'"),
            (
                {"weights": "bundled", "variant": "B/16"},
                "the bundled weights have an architecture of their own; 'B/16'",
            ),
            ({"weights": None, "classes": 0}, "classes must be at least 1"),
            ({"weights": None, "classes": 2.5}, "classes must be at least 1 and a whole number, not 2.5"),
            (
                {"weights": None, "input_shape": (224, 230, 3)},
                r"multiples of the patch, 16 pixels, not \(224, 230, 3\)",
            ),
            ({"weights": None, "input_shape": (None, 224, 3)}, "multiples of the patch"),
            ({"weights": None, "input_shape": (224.0, 224, 3)}, "multiples of the patch"),
            ({"weights": None, "input_shape": (0, 224, 3)}, "multiples of the patch"),
            ({"weights": None, "input_shape": (224, 224, 1)}, "3 colour channels"),
            ({"weights": None, "input_shape": (224, 224)}, r"\(height, width, channels\)"),
            ({"weights": None, "input_shape": 224}, r"\(height, width, channels\), not 224"),
        ],
    )
    def test_is_named_with_what_is_possible(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            ViT(**arguments)

    def test_activation_of_a_pretrained_network(self, npz):
        with pytest.raises(ValueError, match="must be 'softmax' or None"):
            ViT(weights=npz, classifier_activation="relu")


class TestPreprocessing:
    def test_closed_form(self):
        np.testing.assert_allclose(
            preprocess_input(np.array([[[0, 51, 255]]], "uint8"))[0, 0], [-1, -0.6, 1], atol=1e-6
        )

    def test_equals_vit_keras(self):
        theirs = pytest.importorskip("vit_keras.vit")
        photos = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype="uint8")
        np.testing.assert_array_equal(preprocess_input(photos), theirs.preprocess_inputs(photos))

    def test_floats_change_in_place_and_integers_do_not(self):
        floats, integers = np.full((1, 2, 2, 3), 255.0, "float32"), np.full((1, 2, 2, 3), 255, "uint8")
        preprocess_input(floats)
        preprocess_input(integers)
        assert (floats == 1).all()
        assert (integers == 255).all()


class TestDecoding:
    def test_bundled_and_imagenet_columns(self, monkeypatch, tmp_path):
        """32 columns are the course's classes, 1000 ImageNet's, whichever network gave them."""
        sidecar = json.loads(pretrained.sidecar_of(weights.find("vgg16")).read_text())
        decoded = decode_predictions(np.eye(32)[[3]], top=2)
        assert decoded[0][0] == (*sidecar["classes"][3], 1.0)
        index = {str(i): [f"n{i:08}", f"name_{i}"] for i in range(1000)}
        (tmp_path / "models").mkdir()
        monkeypatch.setenv("KERAS_HOME", str(tmp_path))
        path = tmp_path / "models" / "imagenet_class_index.json"
        path.write_text(json.dumps(index))
        known = weights.REMOTE["imagenet-classes"]
        digest = f"md5:{weights.hashlib.md5(path.read_bytes()).hexdigest()}"
        entry = weights.Remote(known.origin, digest, path.stat().st_size, known.licence)
        monkeypatch.setitem(weights.REMOTE, "imagenet-classes", entry)
        assert decode_predictions(np.eye(1000)[[999]], top=1) == [[("n00000999", "name_999", 1.0)]]

    def test_wrong_shapes(self):
        with pytest.raises(ValueError, match="expects a batch of predictions"):
            decode_predictions(np.zeros(32))
        with pytest.raises(ValueError, match="no class list has 17 names"):
            decode_predictions(np.zeros((1, 17)))
        with pytest.raises(ValueError, match="top must be at least 1"):
            decode_predictions(np.zeros((1, 32)), top=0)
