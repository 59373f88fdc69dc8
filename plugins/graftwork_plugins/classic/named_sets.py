"""The named sets: what each is, how large, under which terms, and how its own files are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from graftwork.images import RawImages
from graftwork.survey import Outline
from graftwork_plugins.classic import own_files, pictures

Files = dict[str, Path]  # a set's own files by name, each verified
DIGITS = tuple("0123456789")


@dataclass(frozen=True)
class Arrays:
    """A set of images of one size, which becomes one .npz."""

    shape: tuple[int, int, int]  # channels, height, width
    train: int  # images
    test: int
    classes: tuple[str, ...]
    read: Callable[[Files], RawImages]
    sha256: str | None = None  # `canonical.sum_of` its arrays, by which an archive of the mirror is known to be the set


@dataclass(frozen=True)
class Pictures:
    """A set of encoded pictures, which become class folders, in folders of splits where it has any."""

    count: int
    unfold: Callable[[Files, Path], int]  # writes them, and returns how many
    images: dict[str, int]  # by split, "" where it has none
    classes: int
    side: int  # pixels; the shorter one, in the median


@dataclass(frozen=True)
class NamedSet:
    """A set's title, site and licence as far as we know it, torchvision's folder for it, and its form."""

    title: str
    homepage: str
    licence: str
    folder: str
    fewest: int  # training images of the class that has the fewest
    form: Arrays | Pictures

    @property
    def outline(self) -> Outline:
        """What is known of it before it is obtained."""
        form = self.form
        if isinstance(form, Pictures):
            return Outline("image_folder", form.classes, form.images, self.fewest, 3, form.side)
        channels, side, _ = form.shape
        return Outline("npz", len(form.classes), {"train": form.train, "test": form.test}, self.fewest, channels, side)


CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
STL10 = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")
CIFAR100 = (
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl", "boy",
    "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair", "chimpanzee", "clock",
    "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant", "flatfish", "forest",
    "fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp", "lawn_mower", "leopard", "lion", "lizard",
    "lobster", "man", "maple_tree", "motorcycle", "mountain", "mouse", "mushroom", "oak_tree", "orange", "orchid",
    "otter", "palm_tree", "pear", "pickup_truck", "pine_tree", "plain", "plate", "poppy", "porcupine", "possum",
    "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper",
    "snail", "snake", "spider", "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank", "telephone",
    "television", "tiger", "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf",
    "woman", "worm",
)  # fmt: skip
FASHION = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
KUZUSHIJI = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
GREY, COLOUR = (1, 28, 28), (3, 32, 32)
VGG = "https://www.robots.ox.ac.uk/~vgg/data"
TORONTO = "https://www.cs.toronto.edu/~kriz/cifar.html"

# Of archives whose arrays, with the headers of idx files, have the published md5s
MNIST_SHA256 = "06b0d1f124c4e5fa796686ade41a9b778edacc8622f2195a352ef479ad44fc16"
FASHION_SHA256 = "ca3ab2a37f845e1b8ae23cab1b51749a3011ba3bf1d9016176d75cbaabac376f"

SETS = {
    "mnist": NamedSet(
        "MNIST", "http://yann.lecun.com/exdb/mnist/", "CC BY-SA 3.0", "MNIST/raw", 5_421,
        Arrays(GREY, 60_000, 10_000, DIGITS, own_files.idx(DIGITS), MNIST_SHA256),
    ),
    "fashion_mnist": NamedSet(
        "Fashion-MNIST", "https://github.com/zalandoresearch/fashion-mnist", "MIT", "FashionMNIST/raw", 6_000,
        Arrays(GREY, 60_000, 10_000, FASHION, own_files.idx(FASHION), FASHION_SHA256),
    ),
    "kmnist": NamedSet(
        "Kuzushiji-MNIST", "http://codh.rois.ac.jp/kmnist/", "CC BY-SA 4.0", "KMNIST/raw", 6_000,
        Arrays(GREY, 60_000, 10_000, KUZUSHIJI, own_files.idx(KUZUSHIJI)),
    ),
    "cifar10": NamedSet(
        "CIFAR-10", TORONTO, "none stated", "", 5_000, Arrays(COLOUR, 50_000, 10_000, CIFAR10, own_files.cifar),
    ),
    "cifar100": NamedSet(
        "CIFAR-100", TORONTO, "none stated", "", 500, Arrays(COLOUR, 50_000, 10_000, CIFAR100, own_files.cifar),
    ),
    "svhn": NamedSet(
        "Street View House Numbers", "http://ufldl.stanford.edu/housenumbers/", "non-commercial use only", "", 4_659,
        Arrays(COLOUR, 73_257, 26_032, DIGITS, own_files.svhn(DIGITS)),
    ),
    "stl10": NamedSet(
        "STL-10", "https://cs.stanford.edu/~acoates/stl10/", "none stated", "", 500,
        Arrays((3, 96, 96), 5_000, 8_000, STL10, own_files.stl10(STL10)),
    ),
    "flowers102": NamedSet(
        "Oxford 102 Flower", f"{VGG}/flowers/102/", "none stated", "flowers-102", 10,
        Pictures(8_189, pictures.flowers, {"train": 1_020, "validation": 1_020, "test": 6_149}, 102, 500),
    ),
    "oxford_iiit_pet": NamedSet(
        "Oxford-IIIT Pet", f"{VGG}/pets/", "CC BY-SA 4.0", "oxford-iiit-pet", 93,
        Pictures(7_349, pictures.pets, {"train": 3_680, "test": 3_669}, 37, 333),
    ),
    "eurosat": NamedSet(
        "EuroSAT (RGB)", "https://github.com/phelber/eurosat", "MIT", "eurosat", 2_000,
        Pictures(27_000, pictures.eurosat, {"": 27_000}, 10, 64),
    ),
}  # fmt: skip
