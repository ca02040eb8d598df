"""Opening models: the logits, the layers, the untouched caller's model, the errors, the counting."""

import gc
import threading
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf
import zoo

from labutils import explain
from labutils.explain import count_passes
from labutils.explain.surgery import TOP_CLASS, open_model, stand_in

L = keras.layers
FLOATS = zoo.photos().astype(np.float32)


class TestLogits:
    @pytest.mark.parametrize("build", zoo.SAME_MODEL)
    def test_final_softmax_is_left_out_in_every_form(self, build):
        expected = zoo.linear().predict(FLOATS, verbose=0)
        np.testing.assert_allclose(open_model(zoo.SAME_MODEL[build]()).logits(FLOATS), expected, rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("build", [zoo.sigmoid_binary, zoo.sigmoid_multilabel])
    def test_final_sigmoid_is_left_out(self, build):
        model = build()
        logits = open_model(model).logits(FLOATS)
        np.testing.assert_allclose(tf.sigmoid(logits), model.predict(FLOATS, verbose=0), rtol=1e-4, atol=1e-6)
        assert np.abs(logits).max() > 1

    def test_softmax_behind_a_reshape(self):
        image = keras.Input(zoo.SIZE)
        scores = L.Conv2D(3, zoo.SIZE[:2], activation="softmax")(image)
        model = keras.Model(image, L.Dropout(0.5)(L.Reshape((3,))(scores)))
        logits = open_model(model).logits(FLOATS)
        np.testing.assert_allclose(tf.nn.softmax(logits), model.predict(FLOATS, verbose=0), rtol=1e-4, atol=1e-6)
        assert np.abs(logits).max() > 1

    def test_only_the_final_activation_is_left_out(self):
        # 4 sigmoid(ln 3) - 1 = 2, by hand; with the hidden sigmoid left out it would be 4 ln 3 - 1.
        model = keras.Sequential([keras.Input((1,)), L.Dense(1, activation="sigmoid"), L.Dense(1)])
        model.set_weights([np.array([[np.log(3)]]), np.zeros(1), np.array([[4.0]]), np.array([-1.0])])
        np.testing.assert_allclose(open_model(model).logits(np.ones((1, 1), np.float32)), [[2.0]], rtol=1e-5)

    def test_dropout_and_batch_norm_run_in_inference_mode(self):
        image = keras.Input(zoo.SIZE)
        noisy = L.Dropout(0.9)(L.BatchNormalization()(image), training=True)
        model = zoo.shake(keras.Model(image, L.Dense(3)(L.Flatten()(noisy))))
        np.testing.assert_allclose(open_model(model).logits(FLOATS), model.predict(FLOATS, verbose=0), rtol=1e-3)

    def test_mixed_precision_gives_float32(self):
        image = keras.Input((8, 8, 3))
        policy = "mixed_float16"
        tensor = L.Conv2D(4, 3, activation="relu", dtype=policy)(image)
        tensor = L.Dense(3, dtype=policy)(L.GlobalAveragePooling2D(dtype=policy)(tensor))
        model = keras.Model(image, L.Activation("softmax", dtype="float32")(tensor))
        photos = zoo.photos(2, (8, 8, 3)) / 255
        logits = open_model(model).logits(photos.astype(np.float32))
        assert logits.dtype == np.float32
        np.testing.assert_allclose(tf.nn.softmax(logits), model.predict(photos, verbose=0), rtol=1e-2)
        for method in (explain.grad_cam_plus_plus, explain.saliency):
            result = method(model, photos)
            assert result.dtype == np.float32
            assert np.isfinite(result).all()

    def test_integer_input_is_not_cut_to_integers_on_the_way(self):
        image = keras.Input((4, 4, 3), dtype="uint8")
        model = keras.Model(image, L.Dense(2)(L.Flatten()(L.Rescaling(1 / 255)(image))))
        photos = zoo.photos(1, (4, 4, 3))
        np.testing.assert_allclose(
            open_model(model).logits(photos.astype(np.float32)), model.predict(photos, verbose=0), rtol=1e-5
        )
        assert explain.saliency(model, photos).any()


class TestTheCallersModel:
    METHODS = (
        explain.cam_family,
        explain.score_cam,
        explain.saliency,
        explain.guided_backprop,
        explain.integrated_gradients,
    )

    @pytest.mark.parametrize("build", [zoo.functional, zoo.nested, zoo.sequential_built_by_call, zoo.separate_softmax])
    def test_is_the_same_before_and_after(self, build):
        model, photos = build(), zoo.photos()
        model.layers[0].trainable = False
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        model.fit(photos, np.arange(3), verbose=0)
        probabilities, before = model.predict(photos, verbose=0), zoo.state(model)
        kept = photos.copy()
        for method in self.METHODS:
            method(model, photos)
            assert zoo.state(model) == before, method.__name__
        np.testing.assert_array_equal(model.predict(photos, verbose=0), probabilities)
        np.testing.assert_array_equal(photos, kept)

    def test_is_the_same_after_an_error(self):
        class Broken(L.Layer):
            def call(self, inputs):
                if built:
                    raise RuntimeError("broken on purpose")
                return inputs

        built = []
        image = keras.Input(zoo.SIZE)
        maps = L.Conv2D(2, 3, activation="relu")(image)
        model = keras.Model(image, L.Dense(2, activation="softmax")(L.Flatten()(Broken()(maps))))
        built.append(True)
        before = zoo.state(model)
        for method in (explain.grad_cam, explain.saliency, explain.guided_backprop):
            with pytest.raises(RuntimeError, match="broken on purpose"):
                method(model, zoo.photos())
            assert zoo.state(model) == before

    def test_losses_and_counters_of_its_layers_are_not_touched(self):
        class Counting(L.Layer):
            def build(self, shape):
                self.calls = self.add_weight(name="calls", shape=(), initializer="zeros", trainable=False)

            def call(self, inputs):
                self.calls.assign_add(1.0)
                self.add_loss(keras.ops.sum(inputs))
                return inputs

        image = keras.Input(zoo.SIZE)
        tensor = Counting()(L.Conv2D(2, 3, activity_regularizer="l2", kernel_regularizer="l2")(image))
        model = keras.Model(image, L.Dense(2)(L.Flatten()(tensor)))
        before = zoo.state(model)
        explain.saliency(model, zoo.photos())
        explain.score_cam(model, zoo.photos())
        assert zoo.state(model) == before
        assert [float(loss) for loss in model.losses] == [float(loss) for loss in model.losses]

    def test_new_weights_are_seen_without_compiling_again(self):
        model = zoo.functional()
        first = explain.saliency(model, FLOATS, 1)
        opened = open_model(model)
        zoo.shake(model, seed=9)
        assert open_model(model) is opened
        np.testing.assert_allclose(explain.saliency(model, FLOATS, 1), explain.saliency(zoo.functional(9), FLOATS, 1))
        assert not np.allclose(explain.saliency(model, FLOATS, 1), first)

    def test_another_activation_is_seen(self):
        model = zoo.functional()
        explain.saliency(model, FLOATS, 1)
        model.get_layer("conv1").activation = keras.activations.tanh
        np.testing.assert_allclose(
            explain.saliency(model, FLOATS, 1), explain.saliency(zoo_with_tanh(), FLOATS, 1), rtol=1e-5
        )

    def test_layers_added_later_are_seen(self):
        model = zoo.sequential(final=None)
        before = open_model(model).logits(FLOATS)
        model.add(L.Rescaling(2.0))
        np.testing.assert_allclose(open_model(model).logits(FLOATS), 2 * before, rtol=1e-5)

    def test_is_let_go(self):
        model = zoo.functional()
        explain.saliency(model, FLOATS)
        reference = weakref.ref(model)
        del model
        gc.collect()
        assert reference() is None


def zoo_with_tanh():
    model = zoo.functional()
    model.get_layer("conv1").activation = keras.activations.tanh
    return model


class TestLayers:
    def test_default_is_the_last_layer_with_spatial_maps(self):
        assert open_model(zoo.functional()).cut().path == "relu2"
        assert open_model(zoo.vgg_like()).cut().path == "block2_pool"
        assert open_model(zoo.nested()).cut().path == "backbone"
        assert open_model(zoo.residual()).cut().path == "project"

    def test_default_passes_over_pooled_single_pixels(self):
        image = keras.Input((8, 8, 3))
        maps = L.Conv2D(2, 3, name="maps")(image)
        pooled = L.GlobalAveragePooling2D(keepdims=True)(maps)
        model = keras.Model(image, L.Flatten()(L.Conv2D(4, 1, name="as_dense")(pooled)))
        assert open_model(model).cut().path == "maps"

    def test_name_path_and_layer_mean_the_same(self):
        model = zoo.nested()
        backbone = model.get_layer("backbone")
        photos = zoo.photos()
        expected = explain.grad_cam(model, photos, layer="conv2")
        np.testing.assert_array_equal(explain.grad_cam(model, photos, layer="backbone/conv2"), expected)
        np.testing.assert_array_equal(explain.grad_cam(model, photos, layer=backbone.get_layer("conv2")), expected)
        np.testing.assert_array_equal(
            explain.grad_cam(model, photos, layer=backbone), explain.grad_cam(model, photos, layer="relu2")
        )

    def test_head_of_trunk_is_the_whole(self):
        opened = open_model(zoo.residual())
        for layer in ("stem", "twice", "relu6", "depthwise", "sum", "project"):
            cut = opened.cut(layer)
            maps, carried = cut.trunk(tf.constant(FLOATS))
            assert len(carried) == (layer in ("twice", "relu6", "depthwise")), layer  # the skip around them
            np.testing.assert_allclose(cut.head(maps, carried), opened.logits(FLOATS), rtol=1e-4, atol=1e-5)

    def test_of_a_layer_called_twice_the_last_call_counts(self):
        # stem = x; twice(x) = 2 x; after it again 4 x. Read at the last call: A = 4 x.
        image = keras.Input((2, 3, 1))
        twice = L.Conv2D(1, 1, use_bias=False, name="twice")
        model = keras.Model(image, L.Dense(1, use_bias=False)(L.Flatten()(twice(twice(image)))))
        model.set_weights([np.full((1, 1, 1, 1), 2.0), np.ones((6, 1))])
        photo = np.arange(6.0).reshape(2, 3, 1)
        np.testing.assert_allclose(explain.grad_cam(model, photo, layer="twice"), 4 * photo[None, ..., 0])

    def test_shared_backbone(self):
        inner = keras.Input((4, 6, 1))
        backbone = keras.Model(inner, L.Conv2D(1, 1, use_bias=False, name="maps")(inner), name="backbone")
        image = keras.Input((4, 6, 1))
        both = L.Concatenate()([L.Flatten()(backbone(image)), L.Flatten()(backbone(L.Rescaling(3.0)(image)))])
        model = keras.Model(image, L.Dense(1, use_bias=False)(both))
        model.set_weights([np.full((1, 1, 1, 1), 2.0), np.ones((48, 1))])
        photo = np.arange(24.0).reshape(4, 6, 1)
        np.testing.assert_allclose(open_model(model).logits(photo[None].astype(np.float32)), [[8 * photo.sum()]])
        np.testing.assert_allclose(explain.saliency(model, photo), np.full((1, 4, 6), 8.0))
        np.testing.assert_allclose(explain.grad_cam(model, photo, layer="maps"), 6 * photo[None, ..., 0])

    @pytest.mark.parametrize(
        ("layer", "error", "message"),
        [
            ("conv3", ValueError, "has no layer 'conv3'; close names: 'conv2', 'conv1'"),
            ("nothing like it", ValueError, "layers with spatial maps: 'conv1', 'pool', 'conv2', 'norm', 'relu2'"),
            ("fc", ValueError, "'fc' has no spatial maps: its output has shape (None, 7)"),
            ("predictions", ValueError, "'predictions' does not lead to the output"),
            (-1, TypeError, "layer: a layer's name, a layer or None is needed, not int -1"),
            (L.Dense(3, name="stranger"), ValueError, "'stranger' is not a layer of"),
        ],
    )
    def test_wrong_layers(self, layer, error, message):
        with pytest.raises(error) as raised:
            explain.grad_cam(zoo.functional(), zoo.photos(), layer=layer)
        assert message in str(raised.value)

    def test_same_name_twice(self):
        image = keras.Input((4, 4, 1))
        left, right = (
            keras.Sequential([keras.Input((4, 4, 1)), L.Conv2D(1, 1, name="conv")], name=name)
            for name in ("left", "right")
        )
        model = keras.Model(image, L.Dense(2)(L.Flatten()(right(left(image)))))
        with pytest.raises(ValueError, match=r"several layers.*choose from \['left/conv', 'right/conv'\]"):
            explain.grad_cam(model, np.ones((4, 4, 1)), layer="conv")
        assert explain.grad_cam(model, np.ones((4, 4, 1)), layer="left/conv").shape == (1, 4, 4)

    def test_no_spatial_layer(self):
        model = zoo.dense_net((np.ones((3, 2)), np.zeros(2)))
        with pytest.raises(ValueError, match="has no layer with spatial maps"):
            explain.grad_cam(model, np.ones((1, 3)))

    def test_channels_first(self):
        image = keras.Input((3, 6, 8))
        maps = L.AveragePooling2D(2, data_format="channels_first", name="pooled")(image)
        with pytest.raises(ValueError, match=r"'pooled' of .* has data_format='channels_first'"):
            explain.grad_cam(keras.Model(image, L.Dense(2)(L.Flatten()(maps))), np.ones((3, 6, 8)))


class TestModelsThatCannotBeOpened:
    def test_not_a_model(self):
        with pytest.raises(TypeError, match="model: a Keras model is needed, not str"):
            explain.saliency("vgg16", np.ones((2, 2, 3)))

    def test_subclassed(self):
        class Subclassed(keras.Model):
            def call(self, inputs):
                return inputs

        with pytest.raises(ValueError, match=r"is a subclassed model \(Subclassed\)"):
            explain.saliency(Subclassed(), np.ones((2, 2, 3)))
        image = keras.Input((3,))
        with pytest.raises(ValueError, match=r"ends in the subclassed model 'last' \(Subclassed\)"):
            explain.saliency(keras.Model(image, Subclassed(name="last")(image)), np.ones((2, 3)))

    def test_not_built(self):
        with pytest.raises(ValueError, match="is not built yet"):
            explain.saliency(keras.Sequential([L.Dense(2)]), np.ones((2, 3)))

    def test_several_inputs_or_outputs(self):
        a, b = keras.Input((3,), name="left"), keras.Input((3,), name="right")
        with pytest.raises(ValueError, match=r"has 2 inputs \('left', 'right'\), one is needed"):
            explain.saliency(keras.Model([a, b], L.Add()([a, b])), np.ones((2, 3)))
        with pytest.raises(ValueError, match="has 2 outputs"):
            explain.saliency(keras.Model(a, [L.Dense(2)(a), L.Dense(3)(a)]), np.ones((2, 3)))

    def test_output_that_is_not_classes(self):
        image = keras.Input((4, 4, 3))
        with pytest.raises(ValueError, match=r"output of shape \(None, 4, 4, 2\), \(None, classes\) is needed"):
            explain.saliency(keras.Model(image, L.Conv2D(2, 1)(image)), np.ones((4, 4, 3)))


class TestRunning:
    def test_batch_sizes_do_not_compile_again_but_image_sizes_do(self):
        model = zoo.residual()
        opened = open_model(model)
        for n in (1, 3, 2):
            explain.saliency(model, zoo.photos(n))
        (compiled,) = opened._compiled.values()
        assert compiled.experimental_get_tracing_count() == 1
        explain.saliency(model, zoo.photos(1, (9, 20, 3)))
        assert len(opened._compiled) == 2

    def test_threads_do_not_disturb_each_other(self):
        model, photos = zoo.functional(), zoo.photos()
        expected = [explain.saliency(zoo.functional(), photos, c) for c in range(4)]
        results = [None] * 4

        def work(c):
            results[c] = explain.saliency(model, photos, c)

        threads = [threading.Thread(target=work, args=(c,)) for c in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        np.testing.assert_allclose(results, expected, rtol=1e-5)

    def test_top_class_is_found_in_the_same_pass(self):
        opened = open_model(zoo.functional())
        with count_passes() as passes:
            _, score = opened.input_gradients(FLOATS, np.full(3, TOP_CLASS, np.int32))
        assert (passes.forward, passes.backward) == (3, 3)
        np.testing.assert_allclose(score, opened.logits(FLOATS).max(axis=-1), rtol=1e-5)

    def test_counters_nest_and_end_with_their_block(self):
        model = zoo.functional()
        with count_passes() as outer:
            explain.saliency(model, FLOATS[:1])
            with count_passes() as inner:
                explain.saliency(model, FLOATS)
        explain.saliency(model, FLOATS)
        assert (inner.forward, inner.backward) == (3, 3)
        assert (outer.forward, outer.backward) == (4, 4)


class TestStandIn:
    def test_attributes_changed_and_the_layer_left_alone(self):
        layer = L.Conv2D(2, 3, padding="same")
        layer.build((None, 5, 5, 1))
        other = stand_in(layer, padding="valid")
        x = np.ones((1, 5, 5, 1), np.float32)
        assert other(x).shape == (1, 3, 3, 2)
        assert layer(x).shape == (1, 5, 5, 2)
        assert other.kernel is layer.kernel

    def test_a_bound_method_left_in_the_layer_is_bound_anew(self):
        # Xplique's GradCAM ends with `layer.call = layer.call`: the stand-in must not run the layer it stands in for.
        layer = L.Conv2D(2, 3, padding="same")
        layer.build((None, 5, 5, 1))
        layer.call = layer.call
        assert stand_in(layer, padding="valid")(np.ones((1, 5, 5, 1), np.float32)).shape == (1, 3, 3, 2)
