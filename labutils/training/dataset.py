"""Photos from ``train/<class>/*`` and ``val/<class>/*`` in memory, with what sampling and augmentation need to know."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

SIDE = 160
"""Photos are kept at this square size in pixels; their aspect ratio is kept beside them."""

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


@dataclass(frozen=True)
class PhotoSet:
    """Labelled photos.

    Attributes
    ----------
    images : np.ndarray
        (n, SIDE, SIDE, 3) uint8, RGB, stretched to the square.
    labels : np.ndarray
        (n,) int class indices into ``classes``.
    aspects : np.ndarray
        (n,) float32, width over height of the photo as it was.
    names : list of str
        File names; what stands before the first ``_`` or ``-`` is the photo's source.
    classes : list of str
        Class names, alphabetical.
    """

    images: np.ndarray
    labels: np.ndarray
    aspects: np.ndarray
    names: list[str]
    classes: list[str]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def sources(self) -> list[str]:
        return [source_of(name) for name in self.names]

    def subset(self, keep: np.ndarray) -> PhotoSet:
        """The photos at the indices ``keep``, with the same classes."""
        return replace(
            self,
            images=self.images[keep],
            labels=self.labels[keep],
            aspects=self.aspects[keep],
            names=[self.names[i] for i in keep],
        )


def source_of(name: str) -> str:
    """The source of a photo from its file name (``caltech_0001.jpg`` -> ``caltech``)."""
    return name.replace("-", "_").split("_")[0]


def class_folders(folder: Path) -> list[str]:
    """Names of the class folders of ``folder``, alphabetical; ValueError when there are none."""
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir()) if folder.is_dir() else []
    if not names:
        raise ValueError(f"{folder} holds no class folders; expected {folder}/<class>/*.jpg")
    return names


def load_split(folder: Path, classes: list[str]) -> PhotoSet:
    """Read every photo of ``folder/<class>/``; a file that cannot be read is reported and left out."""
    files = [
        (path, label)
        for label, name in enumerate(classes)
        for path in sorted((folder / name).glob("*"))
        if path.suffix.lower() in SUFFIXES
    ]
    if not files:
        raise ValueError(f"no photos ({', '.join(sorted(SUFFIXES))}) under {folder}/<class>/")
    with ThreadPoolExecutor() as pool:
        read = list(
            tqdm(pool.map(_read, [path for path, _ in files]), total=len(files), desc=folder.name, unit="photo")
        )
    good = [i for i, item in enumerate(read) if item is not None]
    for i in sorted(set(range(len(files))) - set(good)):
        tqdm.write(f"left out, not readable as a photo: {files[i][0]}")
    return PhotoSet(
        images=np.stack([read[i][0] for i in good]),
        labels=np.array([files[i][1] for i in good]),
        aspects=np.array([read[i][1] for i in good], np.float32),
        names=[files[i][0].name for i in good],
        classes=classes,
    )


def _read(path: Path) -> tuple[np.ndarray, float] | None:
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as opened:
            photo = ImageOps.exif_transpose(opened).convert("RGB")
    except (UnidentifiedImageError, OSError):
        return None
    return np.asarray(photo.resize((SIDE, SIDE), Image.Resampling.BICUBIC)), photo.width / photo.height


def sampling_weights(labels: np.ndarray, evenness: float) -> np.ndarray:
    """Probability of drawing each photo: (class size) ** -evenness, so 0 is as they come and 1 is all classes alike."""
    counts = np.bincount(labels).astype(float)
    weights = counts[labels] ** -evenness
    return weights / weights.sum()


def backdrop_masks(images: np.ndarray) -> dict[int, np.ndarray]:
    """Where cut-outs on white show their backdrop: index -> (SIDE, SIDE) bool.

    A photo counts as a cut-out when most of its border is nearly white; the backdrop is what hangs together with that
    border, so that white parts of the object stay.
    """
    from scipy import ndimage

    masks = {}
    for index, image in enumerate(images):
        white = image.min(axis=2) > 232
        border = np.concatenate([white[0], white[-1], white[:, 0], white[:, -1]])
        if border.mean() < 0.7:
            continue
        regions, _ = ndimage.label(white)
        edge = np.unique(np.concatenate([regions[0], regions[-1], regions[:, 0], regions[:, -1]]))
        mask = np.isin(regions, edge[edge > 0])
        if mask.mean() < 0.9:
            masks[index] = mask
    return masks


def gather(
    photos: PhotoSet, backdrops: dict[int, np.ndarray], chosen: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The photos at the indices ``chosen`` as `augment.augment` takes them: images, aspects, backdrops, one-hot labels.

    ``backdrops`` is what `backdrop_masks` gave for the photos; those without one get a mask of zeros.
    """
    behind = np.zeros((len(chosen), SIDE, SIDE), np.float32)
    for row, index in enumerate(chosen):
        if index in backdrops:
            behind[row] = backdrops[index]
    labels = np.eye(len(photos.classes), dtype=np.float32)[photos.labels[chosen]]
    return photos.images[chosen], photos.aspects[chosen], behind, labels


def hold_out_sources(photos: PhotoSet) -> tuple[np.ndarray, np.ndarray, dict[str, str]]:
    """Split so that one source of every class with several is never trained on.

    The second most frequent source of a class is held out. Returns the indices to train on, the indices held out, and
    class name -> source held out.
    """
    sources = np.array(photos.sources)
    held: dict[str, str] = {}
    out = np.zeros(len(photos), bool)
    for label, name in enumerate(photos.classes):
        ranked = Counter(sources[photos.labels == label]).most_common()
        if len(ranked) > 1 and ranked[1][1] >= 20:
            held[name] = ranked[1][0]
            out |= (photos.labels == label) & (sources == ranked[1][0])
    return np.flatnonzero(~out), np.flatnonzero(out), held
