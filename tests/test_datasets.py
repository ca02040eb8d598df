"""Digits from scikit-learn or from Keras's cache, never from the network unasked; houses whose coefficients are known."""

import numpy as np
import pytest

from labutils import datasets


@pytest.fixture
def keras_home(tmp_path, monkeypatch):
    """An empty folder in place of Keras's own, and the choice of digits left open."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delenv("LABUTILS_WEIGHTS", raising=False)
    return tmp_path


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a download was started")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    monkeypatch.setattr("keras.src.utils.file_utils.urlretrieve", refuse)


def put_mnist(home, **changes):
    """A small file in the form of mnist.npz, with some of its arrays changed."""
    rng = np.random.default_rng(0)
    arrays = {
        "x_train": rng.integers(0, 256, (30, 28, 28), dtype=np.uint8),
        "y_train": np.arange(30, dtype=np.uint8) % 10,
        "x_test": rng.integers(0, 256, (20, 28, 28), dtype=np.uint8),
        "y_test": np.arange(20, dtype=np.uint8) % 10,
    } | changes
    path = home / "datasets" / "mnist.npz"
    path.parent.mkdir(exist_ok=True)
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path, arrays


def assert_is_sklearns(digits):
    assert digits.name == "scikit-learn's digits"
    assert digits.x_train.shape[1:] == digits.x_test.shape[1:] == (8, 8, 1)
    assert len(digits.x_train) + len(digits.x_test) == 1797


def test_sklearns_digits_are_images_from_0_to_1_divided_by_class():
    from sklearn.datasets import load_digits

    digits = datasets.digits("sklearn")
    assert_is_sklearns(digits)
    for images, labels in ((digits.x_train, digits.y_train), (digits.x_test, digits.y_test)):
        assert images.dtype == np.float32
        assert (images.min(), images.max()) == (0, 1)
        assert labels.dtype.kind == "i"
        assert labels.shape == images.shape[:1]
    shares = np.bincount(digits.y_test) / np.bincount(load_digits().target)
    np.testing.assert_allclose(shares, datasets.TEST_SHARE, atol=0.01)
    # Nothing was lost, doubled or given another label.
    both = {(image.tobytes(), label) for image, label in zip(digits.x_train, digits.y_train, strict=True)}
    both |= {(image.tobytes(), label) for image, label in zip(digits.x_test, digits.y_test, strict=True)}
    assert both == {
        ((image / 16).astype("float32").tobytes(), label)
        for image, label in zip(*load_digits(return_X_y=True), strict=True)
    }


def test_digits_are_the_same_every_time():
    np.testing.assert_array_equal(datasets.digits("sklearn").x_test, datasets.digits("sklearn").x_test)


def test_mnist_is_read_from_kerass_folder(keras_home):
    _, arrays = put_mnist(keras_home)
    digits = datasets.digits("mnist")
    assert digits.name == "MNIST"
    assert digits.x_train.shape == (30, 28, 28, 1)
    assert digits.x_train.dtype == np.float32
    np.testing.assert_allclose(digits.x_test[..., 0] * 255, arrays["x_test"], atol=1e-4)
    np.testing.assert_array_equal(digits.y_test, arrays["y_test"])
    assert digits.y_train.dtype == np.int64


def test_auto_takes_mnist_where_it_is_and_says_so(keras_home, capsys):
    put_mnist(keras_home)
    assert datasets.digits().name == "MNIST"
    said = capsys.readouterr().out
    assert "MNIST, 50 pictures of 28 x 28 pixels" in said
    assert "source='sklearn'" in said


def test_auto_takes_sklearns_where_mnist_is_not_and_says_so(keras_home, capsys):
    assert_is_sklearns(datasets.digits())
    said = capsys.readouterr().out
    assert "scikit-learn's digits, 1,797 pictures of 8 x 8 pixels" in said
    assert "download=True" in said
    assert len(said.splitlines()) == 1


def test_bundled_weights_mean_bundled_digits(keras_home, monkeypatch):
    put_mnist(keras_home)
    monkeypatch.setenv("LABUTILS_WEIGHTS", "bundled")
    assert_is_sklearns(datasets.digits())
    assert datasets.digits("mnist").name == "MNIST"  # What is asked for by name is not overridden.


def test_missing_mnist_is_an_error_with_the_path_and_ways_on(keras_home):
    with pytest.raises(datasets.DatasetError, match="not on this machine") as caught:
        datasets.digits("mnist")
    for part in (str(keras_home / "datasets" / "mnist.npz"), "source='sklearn'", "download=True"):
        assert part in str(caught.value)
    assert not (keras_home / "datasets").exists()


DAMAGE = {
    "text": lambda path: path.write_text("not a zip file"),
    "empty": lambda path: path.write_bytes(b""),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-3000]),
    "a byte altered": lambda path: path.write_bytes(
        path.read_bytes()[:5000] + bytes([path.read_bytes()[5000] ^ 255]) + path.read_bytes()[5001:]
    ),
}

ODD_ARRAYS = {
    "no test labels": {"y_test": None},
    "fewer labels than pictures": {"y_train": np.zeros(29, np.uint8)},
    "labels past 9": {"y_test": np.full(20, 10, np.uint8)},
    "floats": {"x_train": np.zeros((30, 28, 28), np.float32)},
    "flat pictures": {"x_train": np.zeros((30, 784), np.uint8)},
    "two sizes": {"x_test": np.zeros((20, 8, 8), np.uint8)},
    "objects": {"y_test": np.array([None] * 20, dtype=object)},
    "nothing in it": {"x_test": np.zeros((0, 28, 28), np.uint8), "y_test": np.zeros(0, np.uint8)},
}


@pytest.mark.parametrize("damage", [*DAMAGE, *ODD_ARRAYS])
def test_damaged_mnist_is_an_error_and_auto_goes_on_without_it(keras_home, capsys, damage):
    path, _ = put_mnist(keras_home, **ODD_ARRAYS.get(damage, {}))
    DAMAGE.get(damage, lambda path: None)(path)
    with pytest.raises(datasets.DatasetError, match="is damaged") as caught:
        datasets.digits("mnist")
    assert str(path) in str(caught.value)
    assert_is_sklearns(datasets.digits())
    assert f"{path} is damaged" in capsys.readouterr().out


def test_download_is_kerass_into_kerass_folder(keras_home, monkeypatch):
    import keras

    def get_file(name, origin, *, file_hash, cache_dir):
        assert (name, origin, file_hash) == ("mnist.npz", datasets.MNIST_ORIGIN, datasets.MNIST_DIGEST)
        assert cache_dir == str(keras_home)
        return str(put_mnist(keras_home)[0])

    monkeypatch.setattr(keras.utils, "get_file", get_file)
    assert datasets.digits("mnist", download=True).name == "MNIST"
    monkeypatch.setattr(keras.utils, "get_file", None)
    assert datasets.digits("mnist", download=True).name == "MNIST"  # It is here now.


def test_origin_and_digest_are_kerass(monkeypatch):
    import keras
    from keras.src.datasets import mnist

    def get_file(fname, origin, file_hash):
        assert (origin, file_hash) == (datasets.MNIST_ORIGIN, datasets.MNIST_DIGEST)
        raise InterruptedError

    monkeypatch.setattr(mnist, "get_file", get_file)
    with pytest.raises(InterruptedError):
        keras.datasets.mnist.load_data()


def test_a_download_that_fails_says_what_to_do(keras_home, monkeypatch):
    import keras

    def get_file(*args, **kwargs):
        raise Exception("URL fetch failure: no such host")

    monkeypatch.setattr(keras.utils, "get_file", get_file)
    with pytest.raises(datasets.DatasetError, match=r"cannot download MNIST .*no such host.*source='sklearn'"):
        datasets.digits("mnist", download=True)


@pytest.mark.parametrize("source", ["MNIST", "", None, 3])
def test_unknown_source_is_an_error_with_the_choices(source):
    with pytest.raises(ValueError, match="source must be one of 'auto', 'sklearn', 'mnist'"):
        datasets.digits(source)


@pytest.mark.parametrize("source", ["auto", "sklearn"])
def test_only_mnist_can_be_downloaded(source):
    with pytest.raises(ValueError, match="download=True goes with source='mnist'"):
        datasets.digits(source, download=True)


def test_houses_have_the_coefficients_that_they_say():
    houses = datasets.houses(5000, seed=3)
    columns = np.column_stack([houses.x, np.ones(5000)]).astype("float64")
    solved, *_ = np.linalg.lstsq(columns, houses.price.astype("float64"), rcond=None)
    np.testing.assert_allclose(solved, [*houses.coefficients, houses.intercept], rtol=0.05)
    noise = houses.price - houses.intercept - houses.x @ houses.coefficients
    assert np.std(noise) == pytest.approx(8000, rel=0.05)
    assert 0.05 < np.std(noise) / np.std(houses.price) < 0.15


def test_houses_are_houses():
    houses = datasets.houses(5000)
    assert houses.x.shape == (5000, 3)
    assert houses.price.shape == (5000,)
    assert houses.x.dtype == houses.price.dtype == np.float32
    assert len(houses.names) == len(houses.units) == len(houses.coefficients) == 3
    size, bedrooms, age = houses.x.T
    assert 34 <= size.min() < 60
    assert 180 < size.max() <= 260
    assert set(np.unique(bedrooms)) <= {1, 2, 3, 4, 5, 6, 7}
    assert 0 <= age.min() < age.max() <= 120
    assert houses.price.min() > 0
    correlation = np.corrcoef(houses.x.T)
    assert 0.5 < correlation[0, 1] < 0.95, "Large houses have more bedrooms."
    assert -0.5 < correlation[0, 2] < -0.05, "Old houses are smaller."


def test_houses_depend_on_the_seed_alone():
    np.testing.assert_array_equal(datasets.houses(seed=1).price, datasets.houses(seed=1).price)
    assert not np.array_equal(datasets.houses(seed=1).price, datasets.houses(seed=2).price)


@pytest.mark.parametrize("count", [0, -1, 2.5, True, "many"])
def test_a_count_of_houses_is_a_whole_number(count):
    with pytest.raises(ValueError, match="count must be a whole number"):
        datasets.houses(count)
