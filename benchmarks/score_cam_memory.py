"""Peak memory of Score-CAM on a layer of so many channels: `python -m benchmarks.score_cam_memory 512` prints MB."""

import resource
import sys


def main(channels: int) -> None:
    import keras
    import numpy as np

    from labutils.explain import score_cam

    image = keras.Input((224, 224, 3))
    maps = keras.layers.Conv2D(channels, 3, strides=16, padding="same", activation="relu")(image)
    model = keras.Model(image, keras.layers.Dense(10)(keras.layers.GlobalAveragePooling2D()(maps)))
    score_cam(model, np.random.default_rng(0).normal(size=(224, 224, 3)), 0, batch_size=16, progress=False)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


if __name__ == "__main__":
    main(int(sys.argv[1]))
