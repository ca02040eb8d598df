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
    "saliency": {},
    "gradient_times_input": {},
    "guided_backprop": {},
    "smooth_grad": {"samples": 2, "seed": 0},
    "integrated_gradients": {"steps": 4},
}
NOT_NEGATIVE = set(METHODS) - {"gradient_times_input", "integrated_gradients"}


def bundled():
    from labutils.vgg16 import VGG16, preprocess_input

    return VGG16(), preprocess_input(zoo.photos(3, (224, 224, 3)).astype(np.float32))


def mobilenet(size):
    model = keras.applications.MobileNetV2((*size, 3), weights=None)
    if TEACHER.exists():
        model.load_weights(TEACHER)
    return model, zoo.photos(3, (*size, 3)) / np.float32(127.5) - 1


KINDS = {
    "bundled VGG16": bundled,
    "VGG-like": lambda: (zoo.vgg_like(), zoo.photos(3, (16, 24, 3))),
    "Sequential": lambda: (zoo.sequential(), zoo.photos()),
    "nested backbone": lambda: (zoo.nested(), zoo.photos()),
    "separate Softmax": lambda: (zoo.separate_softmax(), zoo.photos()),
    "sigmoid, one unit": lambda: (zoo.sigmoid_binary(), zoo.photos()),
    "residual": lambda: (zoo.residual(), zoo.photos()),
    "MobileNetV2": lambda: mobilenet((64, 96)),
}


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return KINDS[request.param]()


@pytest.mark.parametrize("method", METHODS)
def test_every_method_on_every_kind_of_model(kind, method):
    model, photos = kind
    last = model.output_shape[-1] - 1
    chosen = [0, last // 2, last]

    def run(images, classes):
        return getattr(explain, method)(model, images, classes, **METHODS[method])

    batch = run(photos, chosen)
    assert batch.shape == photos.shape[:3]
    assert batch.dtype == np.float32
    assert np.isfinite(batch).all()
    assert method not in NOT_NEGATIVE or (batch >= 0).all()
    scale = np.abs(batch).max()
    np.testing.assert_allclose(run(photos[1], chosen[1])[0], batch[1], rtol=1e-3, atol=1e-4 * scale)


def test_the_kind_is_left_as_it_was(kind):
    model, photos = kind
    before = zoo.state(model)
    for method, options in METHODS.items():
        getattr(explain, method)(model, photos[:1], **options)
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
