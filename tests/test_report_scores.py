"""The scores of a report: those of `labutils.evaluate`, beside controls, and told as they are."""

import keras
import numpy as np
import pytest

from labutils import evaluate, report
from labutils.report.network import Network
from labutils.report.scores import STEPS, control_maps, score_maps


@pytest.fixture(scope="module")
def network():
    """It sees the brightness of the photo's top left corner and nothing else: the corner is the perfect map."""
    inputs = keras.Input((12, 12, 1))
    x = keras.layers.Cropping2D(((0, 9), (0, 9)))(inputs)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(2, "softmax")(x))
    model.layers[-1].set_weights([np.array([[-8.0, 8.0]]), np.array([3.0, -3.0])])
    return Network("corner", model, "none", ("dark", "bright"))


@pytest.fixture(scope="module")
def image():
    corner = np.zeros((1, 12, 12, 1), "float32")
    corner[:, :3, :3] = 1
    return corner


@pytest.fixture(scope="module")
def corner(image):
    return image[0, ..., 0] + np.linspace(0, 0.1, 144).reshape(12, 12)


def test_scores_are_those_of_evaluate(network, image, corner):
    scores = score_maps(network, image, 1, [corner, -corner])
    baseline = evaluate.blurred(image[0], 12 / 11)
    for values, score in zip((corner, -corner), scores.maps, strict=True):
        deleted = evaluate.deletion_curve(network.model, image, values, 1, steps=STEPS, baseline=baseline)
        inserted = evaluate.insertion_curve(network.model, image, values, 1, steps=STEPS, baseline=baseline)
        assert score.deletion == pytest.approx(deleted.area[0])
        assert score.insertion == pytest.approx(inserted.area[0])
        np.testing.assert_allclose(score.deleted, deleted.scores[0], rtol=1e-5)
    assert scores.untouched == pytest.approx(deleted.scores[0, 0])
    assert scores.blurred == pytest.approx(deleted.scores[0, -1])
    assert scores.forward == 2 * (STEPS + 1) * (2 + len(scores.controls))


def test_the_perfect_map_beats_the_controls(network, image, corner):
    scores = score_maps(network, image, 1, [corner, corner.max() - corner])
    best = scores.maps[0]
    assert all(best.deletion < control.deletion for control in scores.controls.values())
    assert all(best.insertion > control.insertion for control in scores.controls.values())
    assert (scores.best("deletion"), scores.best("insertion")) == (best.deletion, best.insertion)


def test_maps_without_an_order_have_no_score(network, image, corner):
    scores = score_maps(network, image, 1, [np.zeros((12, 12)), None, corner, np.full((12, 12), 3.0)])
    assert [score is None for score in scores.maps] == [True, True, False, True]
    assert scores.best("deletion") is None  # a single map is the best of nothing


def test_controls_have_not_seen_the_photo():
    random, centre = control_maps((5, 8)).values()
    assert len(np.unique(random)) == 40
    assert set(zip(*np.nonzero(centre == centre.max()), strict=True)) == {(2, 3), (2, 4)}
    assert centre[0, 0] == centre.min()


@pytest.fixture
def explained(network, image, corner):
    """Two maps and one without an order, with their scores."""
    methods = report.choose(["grad_cam", "saliency", "occlusion"])
    values = [corner, corner.max() - corner, np.zeros((12, 12))]
    maps = [report.Map(method, each, "", 0.1, 1, 1) for method, each in zip(methods, values, strict=True)]
    scores = score_maps(network, image, 1, values)
    evidence = report.Evidence(1, "bright", 0.9, maps, scores)
    picture = np.zeros((12, 12, 3), "uint8")
    return report.ExplainedPhoto("corner.png", picture, [report.Prediction(1, "bright", 0.9)], [evidence])


def test_page_marks_the_best_in_words_and_gives_the_controls(network, explained):
    page = report.render(network, explained, {})
    table = page[page.index('class="numbers scores"') :].partition("</table>")[0]
    cam, saliency, occlusion = table.partition("<tbody>")[2].partition("</tbody>")[0].split("</tr>")[:3]
    assert cam.count(">best<") == 2
    assert saliency.count(">best<") == 0
    assert occlusion.count("<td>–</td>") == 2
    controls = table.partition("<tfoot>")[2]
    assert "Control: pixels at random" in controls
    assert "Control: from the centre outwards" in controls
    assert ">best<" not in controls
    assert "not in the cost of the maps" in page


def test_page_says_when_the_blur_takes_little_away(network, explained):
    evidence = explained.evidence[0]
    for blurred, told in ((0.1, False), (0.8, True)):
        scores = report.scores.Scores(evidence.scores.maps, evidence.scores.controls, 0.9, blurred, 1, 0.1)
        photo = report.ExplainedPhoto(
            "p", explained.picture, explained.predictions, [report.Evidence(1, "bright", 0.9, evidence.maps, scores)]
        )
        assert ("these scores can tell little" in report.render(network, photo, {})) is told
