"""The report: right values, every word from outside escaped, one file that needs nothing else."""

import base64
import io
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from labutils import explain, photos, report
from labutils.explain.surgery import open_model
from labutils.report.network import Network, preprocessing, saved_network
from labutils.vit import Architecture, _build

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FAST = ["grad_cam", "gradient_times_input"]


def small_model(channels=3, classes=4, side=24, activation="softmax", spatial=True):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((side, side, channels))
    x = keras.layers.Conv2D(5, 3, padding="same", activation="relu", name="maps")(inputs) if spatial else inputs
    x = keras.layers.GlobalAveragePooling2D()(x) if spatial else keras.layers.Flatten()(x)
    return keras.Model(inputs, keras.layers.Dense(classes, activation=activation)(x))


@pytest.fixture
def network():
    return Network("small.keras", small_model(), "scale01", ("ant", "bee", "cow", "dog"))


@pytest.fixture
def transformer():
    """A ViT with a stem, for photos that are not square: 2 x 3 patches."""
    keras.utils.set_random_seed(0)
    architecture = Architecture(((4,),), patch=8, width=6, depth=2, heads=2, hidden=8, outputs=4)
    model = _build(architecture, True, (16, 24, 3), 4, "softmax", "vit")
    return Network("tiny ViT", model, "vit", ("ant", "bee", "cow", "dog"))


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype="uint8")
    Image.fromarray(pixels).save(path)
    return path


class Tags(HTMLParser):
    """Every tag of a page with its attributes, and the text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.text += " "

    def handle_data(self, data):
        self.text += data

    def all(self, name):
        return [attributes for tag, attributes in self.tags if tag == name]


class TestMethods:
    def test_each_is_a_method_of_explain_with_what_a_report_needs(self):
        for method in report.METHODS:
            assert callable(getattr(explain, method.name))
            assert method.title
            assert method.says.endswith(".")

    def test_no_method_of_explain_is_forgotten(self):
        several_at_once = {"cam_family"}
        no_maps = {
            "activations",
            "activation_statistics",
            "maximize_activation",
            "count_passes",
            "attention",
            "attention_gradients",
            "layer_relevance",
            "reached_windows",
        }
        of_arrays = {"rollout", "gradient_weighted_rollout", "token_map"}
        functions = {name for name in explain.__all__ if name.islower()}
        assert {method.name for method in report.METHODS} == functions - several_at_once - no_maps - of_arrays

    def test_chosen_by_name_in_the_order_given(self):
        assert [method.name for method in report.choose(["Saliency", "grad-cam", "saliency"])] == [
            "saliency",
            "grad_cam",
        ]
        assert report.choose(None) == list(report.METHODS)

    def test_unknown_name(self):
        with pytest.raises(
            ValueError, match=r"no method 'gradcam' \(did you mean grad_cam\?\); there are: .*grad_cam, "
        ):
            report.choose(["gradcam"])

    def test_those_that_suit_the_network(self, network, transformer):
        attention = ["attention_map", "attention_rollout", "gradient_rollout"]
        nothing_there = {"lrp", "guided_backprop"}
        names = [method.name for method in report.METHODS]
        assert [method.name for method in report.choose(None, network)] == [
            name for name in names if name not in attention
        ]
        chosen = [method.name for method in report.choose(None, transformer)]
        assert chosen == [name for name in names if name not in nothing_there]
        assert chosen[:4] == [*attention, "grad_cam"]

    def test_attention_by_name_needs_attention(self, network, transformer):
        assert [method.name for method in report.choose(["attention-map"], transformer)] == ["attention_map"]
        with pytest.raises(
            ValueError,
            match=r"attention_rollout reads attention, and small\.keras has no attention layers; --model vit",
        ):
            report.choose(["saliency", "attention_rollout"], network)


class TestNetwork:
    def test_grey_model_gets_luma(self):
        grey = Network("grey", small_model(channels=1), "none", tuple("abcd"))
        prepared = grey.prepare(np.array([[[[255, 0, 0], [0, 255, 0], [0, 0, 255]]]], "uint8"))
        np.testing.assert_array_equal(prepared[0, 0, :, 0], [76, 150, 29])

    def test_logits_become_probabilities(self, network):
        logits = Network("logits", small_model(activation=None), "scale01", network.labels)
        image = np.random.default_rng(0).random((2, 24, 24, 3), dtype="float32") * 30 - 10
        np.testing.assert_allclose(logits.probabilities(image), network.probabilities(image), rtol=1e-5)

    def test_size_of_a_model_that_takes_any(self):
        network = Network("any", small_model(side=None), "none", tuple("abcd"))
        assert network.size == (224, 224)

    @pytest.mark.parametrize(("wanted", "index"), [("cow", 2), ("COW", 2), ("3", 3), ("0", 0)])
    def test_class_by_name_or_number(self, network, wanted, index):
        assert network.class_index(wanted) == index

    @pytest.mark.parametrize(
        ("wanted", "message"),
        [
            ("4", "class 4 is out of range: small.keras has classes 0 to 3"),
            ("-1", "class -1 is out of range"),
            ("bees", r"no class 'bees'; did you mean bee\?"),
            ("xylophone", "its classes begin with ant, bee"),
        ],
    )
    def test_no_such_class(self, network, wanted, message):
        with pytest.raises(ValueError, match=message):
            network.class_index(wanted)

    def test_name_of_two_classes(self):
        crane = Network("imagenet", small_model(), "none", ("crane", "b", "crane", "d"))
        with pytest.raises(ValueError, match="'crane' names several classes; give a number: 0, 2"):
            crane.class_index("crane")


class TestPreprocessing:
    def test_by_name(self):
        photo = np.array([[[[0.0, 127.5, 255.0]]]], "float32")
        np.testing.assert_array_equal(preprocessing("none")(photo), photo)
        np.testing.assert_allclose(preprocessing("scale01")(photo), [[[[0, 0.5, 1]]]])
        np.testing.assert_allclose(preprocessing("mobilenet_v2")(photo.copy()), [[[[-1, 0, 1]]]])
        np.testing.assert_allclose(preprocessing("vit")(photo.copy()), [[[[-1, 0, 1]]]])
        vgg = preprocessing("vgg16")(photo.copy())
        np.testing.assert_allclose(vgg[0, 0, 0], [255 - 103.939, 127.5 - 116.779, 0 - 123.68], rtol=1e-5)

    def test_own_function(self, tmp_path, monkeypatch):
        (tmp_path / "my_preparation.py").write_text("def halve(x):\n    return x / 2\n\nnumber = 3\n")
        monkeypatch.chdir(tmp_path)
        np.testing.assert_array_equal(preprocessing("my_preparation:halve")(np.ones((1, 1, 1, 3))), 0.5)
        with pytest.raises(ValueError, match="my_preparation:number is not a function"):
            preprocessing("my_preparation:number")

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("vgg", "no preprocessing 'vgg'; there are: none, scale01, vit, .*mobilenet_v2.* or module:function"),
            ("no_such_module:f", "--preprocess cannot import no_such_module: No module"),
            ("json:no_such_function", "cannot import .* no attribute"),
        ],
    )
    def test_unknown(self, name, message):
        with pytest.raises(ValueError, match=message):
            preprocessing(name)


class TestSavedNetwork:
    def test_names_from_text_and_json(self, tmp_path):
        small_model().save(tmp_path / "m.keras")
        (tmp_path / "names.txt").write_text("ant\nbee\n\ncow\ndog\n")
        (tmp_path / "names.json").write_text(json.dumps(["ant", "bee", "cow", "dog"]))
        for file in ("names.txt", "names.json"):
            network = saved_network(tmp_path / "m.keras", "scale01", tmp_path / file)
            assert network.labels == ("ant", "bee", "cow", "dog")
        assert saved_network(tmp_path / "m.keras").labels == ("class 0", "class 1", "class 2", "class 3")

    def test_vit_is_opened_in_a_fresh_python(self, tmp_path, transformer):
        """Its layers are not Keras's own: opening the file must make them known first."""
        transformer.model.save(tmp_path / "vit.keras")
        code = (
            "import sys; from pathlib import Path; from labutils.report import saved_network\n"
            "network = saved_network(Path(sys.argv[1]), 'vit'); print(network.has_attention, network.size)"
        )
        command = [sys.executable, "-c", code, str(tmp_path / "vit.keras")]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.stdout == "True (16, 24)\n", done.stderr

    def test_wrong_number_of_names(self, tmp_path):
        small_model().save(tmp_path / "m.keras")
        (tmp_path / "names.txt").write_text("ant\nbee\n")
        with pytest.raises(ValueError, match=r"names\.txt has 2 names, but the model has 4 classes"):
            saved_network(tmp_path / "m.keras", labels=tmp_path / "names.txt")

    def test_models_that_do_not_classify_photos(self, tmp_path):
        vectors = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        vectors.save(tmp_path / "vectors.keras")
        images = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3)])
        images.save(tmp_path / "images.keras")
        (tmp_path / "text.keras").write_text("hello")
        for file, message in [
            ("vectors", "does not take photos"),
            ("images", r"cannot be explained: .* has an output of shape"),
            ("text", "is not a model that Keras can load"),
        ]:
            with pytest.raises(ValueError, match=message):
                saved_network(tmp_path / f"{file}.keras")
        with pytest.raises(FileNotFoundError, match="no model file"):
            saved_network(tmp_path / "missing.keras")


class TestExplainPhoto:
    def test_maps_are_those_of_explain(self, network, photo):
        done = []
        explained = report.explain_photo(
            network, photo, report.choose(FAST), [2, 0], progress=lambda what, share: done.append((what, share))
        )
        image = photos.load(photo, (24, 24))[np.newaxis] / np.float32(255)
        assert [evidence.label for evidence in explained.evidence] == ["cow", "ant"]
        for evidence, index in zip(explained.evidence, [2, 0], strict=True):
            for one, name in zip(evidence.maps, FAST, strict=True):
                expected = getattr(explain, name)(network.model, image, index)[0]
                np.testing.assert_allclose(one.values, expected, rtol=1e-5, atol=1e-7)
                assert (one.forward, one.backward) == (1, 1)
        assert sum(share for _, share in done) == pytest.approx(report.work(FAST, [2, 0], scores=True))
        assert dict.fromkeys(what for what, _ in done) == dict.fromkeys(
            ["photo.png, Grad-CAM", "photo.png, Gradient × input", "photo.png, scores"]
        )

    def test_every_method_on_a_transformer(self, transformer, photo):
        """All that suit it give a map; those that do not, asked for by name, a map or the reason."""
        (evidence,) = report.explain_photo(
            transformer, photo, report.choose(None, transformer), [1], scores=False
        ).evidence
        for one in evidence.maps:
            assert one.problem == ""
            assert one.values.shape == (16, 24)
            assert np.isfinite(one.values).all()
        rollout = explain.attention_rollout(transformer.model, transformer.prepare(photos.load(photo, (16, 24))[None]))
        np.testing.assert_allclose(evidence.maps[1].values, rollout[0], rtol=1e-5)
        lrp, guided = (
            report.explain_photo(
                transformer, photo, report.choose(["lrp", "guided_backprop"], transformer), scores=False
            )
            .evidence[0]
            .maps
        )
        assert lrp.values is None
        assert "lrp" in lrp.problem.lower() or "rule" in lrp.problem
        assert guided.values.shape == (16, 24)

    def test_predictions_in_order_and_the_top_class_by_default(self, network, photo):
        explained = report.explain_photo(network, photo, report.choose(["saliency"]))
        shares = [prediction.probability for prediction in explained.predictions]
        assert shares == sorted(shares, reverse=True)
        assert [network.labels[prediction.class_index] for prediction in explained.predictions] == [
            prediction.label for prediction in explained.predictions
        ]
        assert [evidence.label for evidence in explained.evidence] == [explained.predictions[0].label]
        assert explained.evidence[0].probability == shares[0]

    def test_picture_keeps_its_proportions(self, network, tmp_path, photo):
        assert report.explain_photo(network, photo, [], scores=False).picture.shape == (30, 40, 3)
        Image.new("RGB", (2000, 1000)).save(tmp_path / "large.jpg")
        assert report.explain_photo(network, tmp_path / "large.jpg", [], scores=False).picture.shape == (320, 640, 3)

    def test_method_that_is_not_possible_says_so(self, photo):
        flat = Network("flat", small_model(spatial=False), "scale01", tuple("abcd"))
        cam, saliency = (
            report.explain_photo(flat, photo, report.choose(["grad_cam", "saliency"]), scores=False).evidence[0].maps
        )
        assert cam.values is None
        assert cam.problem
        assert saliency.values.shape == (24, 24)

    @pytest.mark.parametrize(("side", "patch", "stride"), [(8, 2, 1), (28, 7, 3), (64, 16, 8), (3, 1, 1)])
    def test_occlusion_covers_a_part_of_small_pictures_as_well(self, side, patch, stride, tmp_path):
        digits = Network("digits", small_model(channels=1, side=side), "scale01", tuple("abcd"))
        pixels = np.random.default_rng(1).integers(0, 256, (side, side), dtype="uint8")
        Image.fromarray(pixels).save(tmp_path / "digit.png")
        (one,) = (
            report.explain_photo(digits, tmp_path / "digit.png", report.choose(["occlusion"]), [1], scores=False)
            .evidence[0]
            .maps
        )
        image = pixels[np.newaxis, ..., np.newaxis] / np.float32(255)
        expected = explain.occlusion(digits.model, image, 1, patch=patch, stride=stride)[0]
        np.testing.assert_allclose(one.values, expected, rtol=1e-4, atol=1e-6)

    def test_level_that_says_nothing_is_not_coloured(self, network, photo):
        (one,) = report.explain_photo(network, photo, report.choose(["rise"]), scores=False).evidence[0].maps
        expected = explain.rise(
            network.model, network.prepare(photos.load(photo, (24, 24))[None]), **one.method.options
        )
        np.testing.assert_allclose(one.values, expected[0], rtol=1e-4)
        np.testing.assert_array_equal(one.shown, one.values - one.values.min())

    def test_gap_of_methods_that_promise_a_sum(self, network, photo):
        methods = report.choose(["lrp", "integrated_gradients", "saliency"])
        lrp, integrated, saliency = report.explain_photo(network, photo, methods, [2], scores=False).evidence[0].maps
        image = network.prepare(photos.load(photo, (24, 24))[np.newaxis])
        logits = open_model(network.model).logits(np.concatenate([image, np.zeros_like(image)]))[:, 2]
        assert lrp.values.sum() - lrp.gap == pytest.approx(logits[0], rel=1e-3)
        assert integrated.values.sum() - integrated.gap == pytest.approx(logits[0] - logits[1], rel=1e-3)
        assert saliency.gap is None

    def test_wrong_layer_is_an_error(self, network, photo):
        with pytest.raises(ValueError, match="map"):
            report.explain_photo(network, photo, report.choose(["grad_cam"]), layer="mapz")

    def test_map_with_values_that_are_no_numbers_is_left_out(self, network, photo, monkeypatch):
        monkeypatch.setattr(explain, "saliency", lambda model, images, classes: np.full((1, 24, 24), np.nan, "float32"))
        (evidence,) = report.explain_photo(network, photo, report.choose(["saliency", "grad_cam"])).evidence
        assert evidence.maps[0].problem == "its map has NaN or infinite values"
        assert evidence.scores.maps[0] is None
        assert evidence.scores.maps[1] is not None

    def test_whatever_a_method_raises_is_its_own_problem(self, network, photo, monkeypatch):
        def broken(*given, **options):
            raise RuntimeError("Graph execution error:\nlots of lines")

        monkeypatch.setattr(explain, "saliency", broken)
        saliency, cam = report.explain_photo(network, photo, report.choose(["saliency", "grad_cam"])).evidence[0].maps
        assert saliency.problem == "Graph execution error:"
        assert cam.values is not None

    def test_network_without_an_answer(self, network, photo):
        network.model.set_weights([np.full(weight.shape, 1e30) for weight in network.model.weights])
        with pytest.raises(ArithmeticError, match=r"small\.keras answers with NaN"):
            report.explain_photo(network, photo, report.choose(["saliency"]))

    def test_large_photos_go_through_in_small_batches(self, monkeypatch, photo):
        """A batch of 64 photos of 1000 x 1000 pixels would not fit into a laptop's memory."""
        large = Network("large", small_model(side=1000), "scale01", tuple("abcd"))
        given = {}

        def occlusion(model, images, classes, *, patch=16, stride=8, batch_size=64, progress=None):
            given.update(patch=patch, stride=stride, batch_size=batch_size)
            return np.zeros((1, 1000, 1000), "float32")

        monkeypatch.setattr(explain, "occlusion", occlusion)
        report.explain_photo(large, photo, report.choose(["occlusion"]), scores=False)
        assert given == {"patch": 71, "stride": 35, "batch_size": 3}


class TestFindPhotos:
    def test_files_folders_and_samples_each_once(self, photo, monkeypatch):
        folder = photo.parent
        monkeypatch.chdir(folder)
        for name in ("b.JPG", "a.webp", "damaged.heic", "notes.txt", ".hidden.png"):
            (folder / name).write_text("x")
        (folder / "deeper.png").mkdir()
        found = report.find_photos(["cat", ".", "photo.png", "gone.jpg"])
        assert found == {
            photos.sample_path("cat"): "cat",
            **{Path(name): name for name in ("a.webp", "b.JPG", "damaged.heic", "photo.png", "gone.jpg")},
        }
        (folder / "cat").write_text("")
        assert report.find_photos(["cat"]) == {Path("cat"): "cat"}

    def test_pattern_that_the_command_line_left_alone(self, photo):
        assert list(report.find_photos([str(photo.parent / "*.png")])) == [photo]
        assert list(report.find_photos(["no*.png"])) == [Path("no*.png")]

    def test_folder_without_photos(self, tmp_path):
        with pytest.raises(photos.PhotoError, match="is a folder without photos; its subfolders are not read"):
            report.find_photos([str(tmp_path)])


HOSTILE = "<script>alert(1)</script>\"'&.png"


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    hostile = tmp_path_factory.mktemp("photos") / HOSTILE.replace("/", "")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype="uint8")).save(hostile)
    labels = ("<b>ant</b>", '"bee" onload="x', "{{ 1 + 1 }}", "dog")
    network = Network("<i>net</i>", small_model(), "scale01", labels)
    explained = report.explain_photo(network, hostile, report.choose(FAST), [0, 1, 2])
    return report.render(network, explained, {"Command": f"labutils explain {hostile.name}"})


class TestPage:
    def test_words_from_outside_are_text(self, html):
        page = Tags(html)
        assert len(page.all("script")) == 1
        assert page.all("b") == []
        assert not any("onload" in attributes for _, attributes in page.tags)
        for text in (HOSTILE.replace("/", ""), "<b>ant</b>", '"bee" onload="x', "{{ 1 + 1 }}", "<i>net</i>"):
            assert text in page.text

    def test_needs_nothing_else(self, html):
        page = Tags(html)
        assert page.all("link") == []
        sources = [image["src"] for image in page.all("img")] + re.findall(r"url\(([^)]*)\)", html)
        assert all(source.startswith("data:image/") for source in sources)
        assert not re.search(r"https?://", html)

    def test_pictures_are_the_maps_and_have_alternative_texts(self, html):
        images = Tags(html).all("img")
        assert all(image["alt"] for image in images)
        maps = [image for image in images if image["alt"].startswith(("Grad-CAM for", "Gradient × input for"))]
        assert len(maps) == 6
        for image in maps:
            content = base64.b64decode(image["src"].partition(",")[2])
            assert Image.open(io.BytesIO(content)).size == (24, 24)

    def test_gives_cost_and_settings(self, html):
        text = re.sub(r"\s+", " ", Tags(html).text)
        assert text.count("1 forward, 1 backward") == 6
        assert re.search(r"Grad-CAM 3 3 .*Gradient × input 3 3 .*All 6 6 ", text)
        assert "labutils explain" in text
        assert re.search(r"labutils \d+\.\d+.*keras \d+\.\d+", text)

    def test_zero_map_and_impossible_method_are_told(self, network):
        method = report.choose(["grad_cam"])[0]
        maps = [
            report.Map(method, np.zeros((24, 24), "float32"), "", 0.1, 1, 1),
            report.Map(method, None, "no <layer>", 0.1, 0, 0),
        ]
        picture = np.zeros((24, 24, 3), "uint8")
        photo = report.ExplainedPhoto(
            "p", picture, [report.Prediction(0, "ant", 1.0)], [report.Evidence(0, "ant", 1.0, maps)]
        )
        page = Tags(report.render(network, photo, {}))
        assert "zero everywhere" in page.text
        assert "Not possible here: no <layer>" in page.text
        assert not any(image["alt"].startswith("Grad-CAM") for image in page.all("img"))


def test_pictures_of_few_pixels_are_shown_as_they_are(tmp_path):
    """Neither JPEG nor smoothing, which turn an 8 x 8 digit into a blur; photos have both."""
    digits = Network("digits", small_model(channels=1, side=8), "scale01", tuple("abcd"))
    pixels = np.random.default_rng(2).integers(0, 256, (8, 8), dtype="uint8")
    Image.fromarray(pixels).save(tmp_path / "digit.png")
    Image.fromarray(np.kron(pixels, np.ones((9, 9), "uint8"))).save(tmp_path / "large.png")
    for name, css, kind in (("digit", "photo small", "png"), ("large", "photo", "jpeg")):
        explained = report.explain_photo(digits, tmp_path / f"{name}.png", report.choose(FAST), scores=False)
        page = Tags(report.render(digits, explained, {}))
        (section,) = page.all("section")
        assert section["class"] == css
        address = page.all("img")[0]["src"]
        assert address.startswith(f"data:image/{kind};base64,")
        shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))).convert("L"))
        if kind == "png":
            np.testing.assert_array_equal(shown, pixels)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_page_in_a_browser(network, photo, tmp_path):
    """It fits a phone without scrolling sideways, its slider moves the maps, and it reads without scripts."""
    from playwright.sync_api import sync_playwright

    explained = report.explain_photo(network, photo, report.choose(FAST))
    page_file = tmp_path / "report.html"
    page_file.write_text(report.render(network, explained, {"Command": "x" * 200}), encoding="utf-8")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        phone = browser.new_page(viewport={"width": 390, "height": 844})
        problems = []
        phone.on("console", lambda message: problems.append(message.text))
        phone.on("pageerror", lambda error: problems.append(str(error)))
        phone.goto(page_file.as_uri())
        assert phone.evaluate("document.documentElement.scrollWidth") == 390
        phone.locator(".slider input").first.fill("100")
        assert phone.evaluate("getComputedStyle(document.querySelector('.stack img')).opacity") == "1"
        phone.locator(".card .stack").first.press("Enter")
        assert phone.locator("dialog").get_attribute("aria-label") == "Grad-CAM"
        phone.keyboard.press("ArrowRight")
        assert phone.locator("dialog").get_attribute("aria-label") == "Gradient × input"
        assert phone.locator("dialog .says").is_visible()
        phone.keyboard.press("Escape")
        assert not phone.locator("dialog").is_visible()
        assert problems == []
        plain = browser.new_context(java_script_enabled=False).new_page()
        plain.goto(page_file.as_uri())
        assert not plain.locator(".slider").first.is_visible()
        assert plain.locator(".stack img").first.is_visible()
        browser.close()
