"""Odd photos and odd models: each gives the right result, or an error that names the reason and the way out."""

import functools
import re
import warnings

import numpy as np
import odd_models
import odd_photos
import pytest
import tensorflow as tf

from labutils import explain, photos
from labutils.explain.surgery import OpenModel
from labutils.pretrained import open_saved


def corners(array):
    """The colours in the middle of the four quarters: upper left, upper right, lower left, lower right."""
    height, width = array.shape[:2]
    rows, columns = (height // 4, 3 * height // 4), (width // 4, 3 * width // 4)
    return [array[row, column] for row in rows for column in columns]


@pytest.mark.parametrize("odd", odd_photos.PHOTOS, ids=lambda odd: odd.name)
def test_every_odd_photo_is_read_as_it_looks_or_refused_with_its_reason(odd, tmp_path):
    source = odd.place(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if odd.error:
            with pytest.raises(odd.error, match=f"(?s){odd.said}") as raised:
                photos.load(source)
            assert (odd.entry or "") in str(raised.value)
            assert len(str(raised.value)) < 500
            return
        array = photos.load(source, size=None)
        small = photos.load(source, size=(32, 40)) if odd.entry else array
    assert (array.shape, array.dtype) == ((*odd.size, 3), np.uint8)
    np.testing.assert_allclose(corners(array), odd.corners, atol=odd.tolerance)
    np.testing.assert_allclose(corners(small), odd.corners, atol=max(odd.tolerance, 4))


def test_a_folder_of_all_odd_photos_gives_the_right_ones_and_names_the_others(tmp_path):
    entries = {}
    for odd in odd_photos.PHOTOS:
        source = odd.place(tmp_path)
        if hasattr(source, "close"):
            source.close()
        if odd.entry:
            entries[odd.entry] = odd
    with pytest.warns(UserWarning, match="Left out") as caught:
        images, _, paths = photos.load_folder(tmp_path, size=(32, 40))
    for image, path in zip(images, paths, strict=True):
        if odd := entries.get(path.name):
            np.testing.assert_allclose(corners(image), odd.corners, atol=max(odd.tolerance, 4), err_msg=odd.name)
    assert {path.name for path in paths} >= {name for name, odd in entries.items() if not odd.error}
    reasons = str(caught[0].message).split("\n- ")[1:]
    refused = {name: odd for name, odd in entries.items() if odd.error}
    assert len(reasons) == len(refused)
    for name, odd in refused.items():
        (reason,) = [reason for reason in reasons if reason.startswith(f"{name}: ")]
        assert re.search(f"(?s){odd.said}", reason), reason


@functools.cache
def plain_maps(build):
    """Method -> maps of the usual photos, of a plain model that is made once."""
    return maps_without_compiling(build(), odd_models.PHOTOS, (0, odd_models.CLASSES - 1), odd_models.METHODS)


def maps_without_compiling(*arguments):
    """`maps_of` with each operation run by itself: for models that are seen once the faster way."""

    def compile(opened, key, function, images, *more):
        return lambda *arrays: function(*tf.nest.map_structure(tf.constant, arrays))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OpenModel, "compile", compile)
        return maps_of(*arguments)


def maps_of(model, images, classes, methods):
    return {name: getattr(explain, name)(model, images, classes, **odd_models.METHODS[name]) for name in methods}


@pytest.mark.parametrize("odd", odd_models.MODELS, ids=lambda odd: odd.name)
def test_every_odd_model_is_explained_as_its_plain_twin_or_refused_with_its_reason(odd):
    model = odd.build()
    for method, said in odd.refused.items():
        with pytest.raises(odd.error, match=f"(?s){said}"):
            maps_of(model, odd.photos, odd.classes, [method])
    methods = [method for method in odd_models.METHODS if method not in odd.refused]
    if odd.twin is None:
        assert not methods
        return
    if isinstance(odd.twin, dict):
        expected = odd.twin
    elif odd.twin in (odd_models.plain, odd_models.smooth):
        expected = plain_maps(odd.twin)
    else:
        expected = maps_without_compiling(odd.twin(), odd.photos, odd.classes, methods)
    for method, maps in maps_of(model, odd.photos, odd.classes, [m for m in methods if m in expected]).items():
        assert maps.dtype == np.float32
        assert maps.any() or odd.build is odd_models.of_zeros
        allowed = odd.tolerance * np.abs(expected[method]).max()
        np.testing.assert_allclose(maps, expected[method], rtol=0, atol=allowed, err_msg=method)


@pytest.mark.parametrize("odd", odd_models.FILES, ids=lambda odd: odd.name)
def test_every_file_that_holds_no_model_is_named(odd, tmp_path):
    odd.write(tmp_path / odd.file)
    with pytest.raises(ValueError, match=f"(?s){odd.file} is not a model that Keras can load: .*{odd.said}"):
        open_saved(tmp_path / odd.file)


@pytest.fixture(scope="module")
def plain():
    return odd_models.plain()


@pytest.mark.parametrize("odd", odd_models.IMAGES, ids=lambda odd: odd.name)
def test_odd_images_are_taken_as_what_they_are_or_refused_with_their_reason(odd, plain):
    images = odd.make()
    if odd.error:
        with pytest.raises(odd.error, match=f"(?s){odd.said}"):
            explain.saliency(plain, images)
        return
    np.testing.assert_array_equal(explain.saliency(plain, images), explain.saliency(plain, odd_models.PHOTOS))
