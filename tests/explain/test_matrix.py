"""Every method on every kind of model: shapes, types, finite values, and a batch equals a loop."""

from pathlib import Path

import keras
import numpy as np
import pytest
import zoo

from labutils import explain

TEACHER = Path(__file__).parents[3] / "shared" / "teacher" / "mobilenet_v2_imagenet.weights.h5"

METHODS = {
    "grad_cam": {},
    "grad_cam_plus_plus": {},
    "layer_cam": {},
    "score_cam": {"max_channels": 3},
    "ablation_cam": {},
    "saliency": {},
    "gradient_times_input": {},
    "guided_backprop": {},
    "smooth_grad": {"samples": 2, "seed": 0},
    "integrated_gradients": {"steps": 4},
    "occlusion": {},  # the patch depends on the photos: see `options`
    "rise": {"masks": 3, "seed": 0},
    "lrp": {},
    "attention_map": {},
    "attention_rollout": {},
    "gradient_rollout": {},
}
SIGNED = {"gradient_times_input", "integrated_gradients", "occlusion", "rise", "lrp"}
OF_TRANSFORMERS = {"attention_map", "attention_rollout", "gradient_rollout"}
OTHERS = {
    "cam_family",
    "count_passes",
    "activations",
    "activation_statistics",
    "maximize_activation",
    "attention",
    "attention_gradients",
    "layer_relevance",
    "reached_windows",
}
"""What else there is in labutils.explain for a model: it gives no map an image, or several methods' maps at once."""
OF_ARRAYS = {"rollout", "gradient_weighted_rollout", "token_map"}


def options(method, photos):
    if method == "occlusion":
        height, width = photos.shape[1:3]
        return {"patch": (height // 2, width // 2), "stride": (height // 3, width // 3)}
    return METHODS[method]


def bundled():
    from labutils.vgg16 import VGG16, preprocess_input

    return VGG16(weights="bundled"), preprocess_input(zoo.photos(3, (224, 224, 3)).astype(np.float32))


def keras_vgg16():
    keras.utils.set_random_seed(0)
    photos = keras.applications.vgg16.preprocess_input(zoo.photos(3, (64, 96, 3)).astype(np.float32))
    return keras.applications.VGG16(weights=None, input_shape=photos.shape[1:]), photos


def mobilenet(size):
    model = keras.applications.MobileNetV2((*size, 3), weights=None)
    if TEACHER.exists():
        model.load_weights(TEACHER)
    return model, zoo.photos(3, (*size, 3)) / np.float32(127.5) - 1


KINDS = {
    "bundled VGG16": bundled,
    "Keras's VGG16, random": keras_vgg16,
    "VGG-like": lambda: (zoo.vgg_like(), zoo.photos(3, (16, 24, 3))),
    "Sequential": lambda: (zoo.sequential(), zoo.photos()),
    "nested backbone": lambda: (zoo.nested(), zoo.photos()),
    "residual, any size": lambda: (zoo.residual(), zoo.photos()),
    "MobileNetV2": lambda: mobilenet((64, 96)),
    "ViT": lambda: (zoo.transformer(), zoo.photos(3, zoo.TOKENS)),
    "ViT without class token, nested": lambda: (
        zoo.transformer(before=0, pooled=True, nested="functional"),
        zoo.photos(3, zoo.TOKENS),
    ),
}
"""The kinds of models; their photos are not square but for the two VGG16."""


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return KINDS[request.param]()


def refusal(model, method):
    """The error by which a method refuses a kind of model; None where it must not."""
    is_transformer = any(isinstance(layer, keras.layers.MultiHeadAttention) for layer in model._flatten_layers())
    if is_transformer and method == "lrp":
        return "model: layer '.*' .* of '.*' has no LRP rule"
    if not is_transformer and method in OF_TRANSFORMERS:
        return "model: '.*' has no MultiHeadAttention layer in its graph"
    return None


def test_no_method_is_forgotten():
    public = {name for name in explain.__all__ if name.islower()}
    assert public - OTHERS - OF_ARRAYS == set(METHODS)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_on_every_kind_of_model(kind, method):
    """A batch of three, and a batch of one that gives the same; classes other than the top one."""
    model, photos = kind
    last = model.output_shape[-1] - 1
    chosen = [0, last // 2, last]

    def run(images, classes):
        return getattr(explain, method)(model, images, classes, **options(method, photos))

    before = zoo.state(model)
    if message := refusal(model, method):
        with pytest.raises(ValueError, match=message):
            run(photos, chosen)
        assert zoo.state(model) == before
        return
    batch = run(photos, chosen)
    assert batch.shape == photos.shape[:3]
    assert batch.dtype == np.float32
    assert np.isfinite(batch).all()
    assert method in SIGNED or (batch >= 0).all()
    scale = np.abs(batch).max()
    alone = run(photos[1], chosen[1])[0]
    differ = ~np.isclose(alone, batch[1], rtol=1e-3, atol=1e-4 * scale)
    # A batch of another size may run other kernels. In a network of millions of units their rounding lifts one of them
    # over its ReLU's zero, or gives a pooling another winner: a step in the gradient, within what that unit sees.
    assert differ.mean() <= (0.01 if photos.shape[1] == 224 else 0)
    assert np.linalg.norm(alone - batch[1]) <= 0.01 * np.linalg.norm(batch[1])
    assert zoo.state(model) == before


@pytest.mark.skipif(not TEACHER.exists(), reason="the ImageNet MobileNetV2 of ../shared/teacher is not here")
def test_a_real_network_looks_at_the_cat():
    # chelsea's head fills the middle of the photo; the classes are ImageNet's tabby, tiger cat and Egyptian cat.
    from skimage.data import chelsea
    from skimage.transform import resize

    model, _ = mobilenet((224, 224))
    photo = (resize(chelsea(), (224, 224), preserve_range=True) / 127.5 - 1).astype(np.float32)
    assert model.predict(photo[None], verbose=0)[0].argmax() in (281, 282, 285)
    heat = explain.grad_cam(model, photo)[0]
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    assert 30 < row < 194
    assert 30 < column < 194
    maps, gap = explain.integrated_gradients(model, photo, steps=16, return_gap=True)
    assert abs(gap[0]) < 0.01 * abs(maps[0].sum() - gap[0])
