"""The files of a report: pages that lead to each other, an index, numbers for scripts, and nothing half written."""

import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import keras
import numpy as np
import pytest
from PIL import Image

from labutils import cli, report
from labutils.report import output
from labutils.report.network import Network
from labutils.report.page import Links as Neighbours

NAMES = [
    "one.png",
    "50 % #1? grün & <script>alert(1).png",
    "x/same.png",
    "y/same.png",
    "javascript:alert(1).png",
]
if os.name == "nt":  # where most of these characters cannot be in a file's name
    NAMES = ["one.png", "50 % #1 grün &.png", "x/same.png", "y/same.png"]


class Links(HTMLParser):
    """What a page's links lead to, every tag of the page, and its text."""

    def __init__(self, page: Path):
        super().__init__()
        self.addresses, self.tags, self.text = [], [], ""
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append(tag)
        self.text += " "
        if tag == "a":
            self.addresses.append(attributes["href"])

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Conv2D(4, 3, activation="relu"), keras.layers.GlobalAveragePooling2D()]
    model = keras.Sequential([keras.Input((16, 16, 3)), *layers, keras.layers.Dense(3, "softmax")])
    return Network("m.keras", model, "scale01", ("class 0", "class 1", "class 2"))


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def photos(here):
    """Photos with names that a web page must take care of, two of them the same."""
    for number, name in enumerate(NAMES):
        path = here / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (20, 30, 3), dtype="uint8")
        Image.fromarray(pixels).save(path)
    return [str(Path("photos", name)) for name in NAMES]


@pytest.fixture
def explain(here, network, monkeypatch):
    """`labutils explain` on the small network, which is compiled once and not for every run."""
    (here / "m.keras").touch()
    monkeypatch.setattr(report, "saved_network", lambda path, *given, **options: network)

    def run(*arguments):
        fixed = ["--model", "m.keras", "--preprocess", "scale01", "--methods", "grad_cam,saliency"]
        return cli.main(["explain", *arguments, *fixed])

    return run


def resolved(page: Path) -> list[Path]:
    """The files that a page's links lead to."""
    addresses = Links(page).addresses
    assert all(address.startswith(("./", "../")) for address in addresses)
    return [Path(os.path.normpath(page.parent / unquote(address))) for address in addresses]


class TestSeveralPhotos:
    def test_index_leads_to_a_page_for_each_and_back(self, here, photos, explain, capsys):
        assert explain(*photos, "--no-scores", "-o", "my #1 report.html") == cli.DONE
        index = here / "my #1 report.html"
        pages = resolved(index)
        assert len(set(pages)) == len(photos)
        assert all(page.parent == here / "my #1 report_files" for page in pages)
        for place, page in enumerate(pages):
            beside = [pages[place - 1]] * (place > 0) + [index] + pages[place + 1 : place + 2]
            assert resolved(page) == beside * 2
        for page in [index, *pages]:  # Names are text wherever they stand.
            assert Links(page).tags.count("script") == (page != index)
        shown = Links(index).text
        assert all((name if "same" in name else Path(name).name) in shown for name in photos)
        said = capsys.readouterr().out.splitlines()
        assert [line.partition(": class")[0] for line in said[:-1]] == [
            str(Path(name)) if "same" in name else Path(name).name for name in photos
        ]
        assert said[-1] == "report: my #1 report.html"

    def test_bad_photos_are_told_and_the_others_explained(self, here, photos, explain, capsys):
        (here / "half.png").write_bytes(Path(photos[0]).read_bytes()[:200])
        assert explain(photos[0], "half.png", "gone.png", "--no-scores", "--json", "n.json", "-o", "r.html") == 3
        errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("labutils: ")]
        assert ["half.png" in errors[0], "There is no gone.png" in errors[1]] == [True, True]
        index = here / "r.html"
        assert len(resolved(index)) == 1
        text = Links(index).text
        assert "1 of 3 photos" in text
        assert "half.png is damaged" in text
        assert "There is no gone.png" in text
        numbers = json.loads((here / "n.json").read_text())
        assert [failed["path"] for failed in numbers["failed"]] == ["half.png", "gone.png"]
        assert numbers["complete"] is True

    def test_folder_is_all_its_photos(self, here, photos, explain):
        (here / "photos" / "notes.txt").write_text("no photo")
        assert explain("photos", "--no-scores", "-o", "out.html") == cli.DONE
        assert len(resolved(here / "out.html")) == sum("/" not in name for name in NAMES)

    def test_interrupted_it_leaves_what_is_finished(self, here, photos, explain, monkeypatch, capsys):
        explain_photo, left = report.explain_photo, iter([1, 2])

        def interrupted(*arguments, **options):
            if next(left, None) is None:
                raise KeyboardInterrupt
            return explain_photo(*arguments, **options)

        monkeypatch.setattr(report, "explain_photo", interrupted)
        assert explain(*photos, "--no-scores", "--json", "n.json", "-o", "report.html") == cli.INTERRUPTED
        assert f"interrupted; 2 of {len(photos)} photos finished and written" in capsys.readouterr().err
        index = here / "report.html"
        pages = resolved(index)
        assert len(pages) == 2
        assert all(target.is_file() for page in pages for target in resolved(page))
        numbers = json.loads((here / "n.json").read_text())
        assert (numbers["complete"], len(numbers["photos"])) == (False, 2)

    def test_at_any_moment_every_link_leads_somewhere(self, here, photos, explain, monkeypatch):
        write, checked = output.write, []

        def watched(path, content):
            write(path, content)
            for page in [*here.glob("report.html"), *here.glob("report_files/*.html")]:
                checked.extend(target.is_file() for target in resolved(page) if target != here / "report.html")

        monkeypatch.setattr(output, "write", watched)
        assert explain(*photos, "--no-scores") == cli.DONE
        assert len(checked) > 20
        assert all(checked)


class TestNumbers:
    @staticmethod
    def strict(text):
        def refuse(constant):
            raise ValueError(f"{constant} is not JSON")

        return json.loads(text, parse_constant=refuse)

    def test_are_those_of_the_page(self, here, photos, explain):
        assert explain(photos[0], "--classes", "0,2", "--json", "n.json", "-o", "r.html") == cli.DONE
        numbers = self.strict((here / "n.json").read_text(encoding="utf-8"))
        text = re.sub(r"\s+", " ", Links(here / "r.html").text)
        (photo,) = numbers["photos"]
        assert (photo["title"], photo["path"], photo["page"]) == ("one.png", photos[0], "r.html")
        assert [explained["class"] for explained in photo["explained"]] == [0, 2]
        for prediction in photo["predictions"]:
            assert f"{prediction['label']} {100 * prediction['probability']:.1f} %" in text
        for explained in photo["explained"]:
            for method in explained["methods"]:
                assert f"up to {method['max']:.3g}".replace("-", "−") in text
                assert (method["deletion"] is None) == (method["max"] == 0)
                if method["deletion"] is not None:
                    assert re.search(rf"{method['title']} {method['deletion']:.2f}.* {method['insertion']:.2f}", text)
            for control in explained["scores"]["controls"]:
                assert f"Control: {control['control']} {control['deletion']:.2f}" in text

    def test_raw_maps_are_those_of_explain(self, here, photos, explain, network):
        from labutils import explain as methods
        from labutils import photos as loading

        assert explain(photos[0], "--classes", "1", "--no-scores", "--maps", "raw", "--json", "n.json") == cli.DONE
        assert not (here / "report.html").exists()  # Scripts get what they ask for.
        numbers = self.strict((here / "n.json").read_text())
        (photo,) = numbers["photos"]
        assert photo["page"] is None
        raw = np.load(photo["maps"])
        image = loading.load(photos[0], (16, 16))[np.newaxis] / np.float32(255)
        for method in photo["explained"][0]["methods"]:
            values = raw[f"1/{method['method']}"]
            expected = getattr(methods, method["method"])(network.model, image, 1)[0]
            np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-7)
            row, column = method["strongest"]["row"], method["strongest"]["column"]
            assert abs(values[row, column]) == abs(values).max()
            assert (method["min"], method["max"]) == (float(values.min()), float(values.max()))
            assert (method["deletion"], method["insertion"]) == (None, None)
        assert photo["explained"][0]["scores"] is None

    def test_on_standard_output_nothing_else(self, photos, explain, capsys):
        assert explain(*photos[:2], "--no-scores", "--json", "-") == cli.DONE
        said = capsys.readouterr()
        assert [photo["path"] for photo in self.strict(said.out)["photos"]] == photos[:2]
        assert "one.png: class" in said.err

    def test_method_that_is_not_possible_has_its_problem(self, here, photos, explain, monkeypatch):
        def broken(*given, **options):
            raise ValueError("no layer with spatial maps")

        monkeypatch.setattr("labutils.explain.grad_cam", broken)
        assert explain(photos[0], "--no-scores", "--json", "n.json") == cli.DONE
        cam, saliency = self.strict((here / "n.json").read_text())["photos"][0]["explained"][0]["methods"]
        assert cam["problem"] == "no layer with spatial maps"
        assert (cam["max"], cam["seconds"], cam["deletion"]) == (None, None, None)
        assert saliency["problem"] is None


class TestWriting:
    def test_half_a_file_never_stands_under_its_name(self, tmp_path):
        (tmp_path / "page.html").write_text("before")

        def broken(file):
            file.write(b"half")
            raise OSError("No space left on device")

        with pytest.raises(OSError, match="No space left"):
            output.write(tmp_path / "page.html", broken)
        assert (tmp_path / "page.html").read_text() == "before"
        assert list(tmp_path.iterdir()) == [tmp_path / "page.html"]

    def test_text_that_is_no_text_is_written_all_the_same(self, tmp_path):
        output.write(tmp_path / "page.html", "grün \udcff")
        assert (tmp_path / "page.html").read_text(encoding="utf-8") == "grün ?"

    @pytest.mark.skipif(os.name == "nt", reason="Windows has no /dev/null")
    def test_device_is_written_to_and_not_replaced(self):
        output.write(Path(os.devnull), "page")
        assert not Path(os.devnull).is_file()

    def test_file_names_are_the_same_on_every_disk(self):
        paths = [Path(name) for name in ("a/cat.jpg", "b/Cat.png", "Müller & <b>.jpg", "猫.jpg", "con.png")]
        assert list(output.file_names(paths).values()) == ["1-cat", "2-cat", "3-muller-b", "4-photo", "5-con"]

    def test_names_that_no_screen_shows(self):
        assert report.printable("a\udcff\n\x1b[31mb") == "a\N{REPLACEMENT CHARACTER}" + (
            "\N{REPLACEMENT CHARACTER}" * 2 + "[31mb"
        )


class TestWhatIsNotWrittenOver:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["-o", "photos/one.png"], "photos/one.png would be written over, and it is what is explained"),
            (["--json", "m.keras"], "m.keras would be written over"),
            (["-o", "x", "--json", "./x"], "page and numbers cannot both be written to x"),
            (["-o", "nowhere/"], "there is no folder nowhere to write index.html to"),
            (["--json", "photos"], "photos is a folder; name a file"),
            (["--maps", "photos/one.png"], "photos/one.png is a file, and is to be a folder"),
        ],
    )
    def test_refused_before_the_work(self, here, photos, explain, capsys, monkeypatch, arguments, message):
        monkeypatch.setattr(report, "explain_photo", lambda *given, **options: pytest.fail("too late"))
        before = Path(photos[0]).read_bytes()
        assert explain(photos[0], *arguments) == cli.NOT_POSSIBLE
        assert message in capsys.readouterr().err.replace("\\", "/")
        assert Path(photos[0]).read_bytes() == before

    def test_existing_folder_gets_an_index(self, here, photos, explain):
        (here / "out").mkdir()
        assert explain(*photos[:2], "--no-scores", "-o", "out") == cli.DONE
        assert len(resolved(here / "out" / "index.html")) == 2


def test_page_among_others_has_links_and_is_the_same_otherwise(network, tmp_path):
    Image.new("RGB", (20, 20), "red").save(tmp_path / "p.png")
    photo = report.explain_photo(network, tmp_path / "p.png", report.choose(["saliency"]), scores=False)
    alone = report.render(network, photo, {})
    among = report.render(network, photo, {}, Neighbours("../index.html"))
    assert "<nav" not in alone
    assert re.sub(r"<nav.*?</nav>\s*", "", among, flags=re.DOTALL) == alone
