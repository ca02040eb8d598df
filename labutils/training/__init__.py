"""How the bundled weights are made: ``python -m labutils.training vgg16 --photos DIR --out data/models``.

``dataset`` reads the photos, ``teacher`` turns a larger network into targets, ``augment`` varies the photos, ``network``
is the trainable twin of `labutils.vgg16.VGG16`, ``fit`` trains it, ``export`` folds and stores it, ``card`` describes it.
"""
