"""A named set is the same, to the last byte, from a mirror and from the network; nothing else passes for it."""

from __future__ import annotations

import functools
import hashlib
import inspect
import io
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from graftwork import downloads
from graftwork.desk import Desk
from graftwork.errors import DataError, PluginError
from graftwork.files import sha256_of_file
from graftwork.progress import Quiet
from graftwork.registry import load_plugins
from graftwork.settings import ImageFormat, Use
from graftwork.torchvision_operators import define_missing
from graftwork_plugins.classic import canonical, pictures, published
from graftwork_plugins.classic.named_sets import SETS, Arrays, Pictures
from graftwork_plugins.classic.published import Published
from graftwork_plugins.image_folder import ImageFolder
from graftwork_plugins.npz import Npz
from graftwork_plugins.origins.torchvision import Name, TorchvisionSet
from tests.core.server import Served, Server, serving
from tests.plugins.classic_files import cifar10, cifar100, packed, write_folder, write_mnist, write_tar, write_zip

HASTY = downloads.Patience(tries=1, wait_seconds=0.0, connect_seconds=1, read_seconds=1)
COLOUR = ImageFormat(size=8, channels=3)
Folder = Callable[[str], Path]


@dataclass
class Heard(Quiet):
    """Remember what was told."""

    logged: list[str] = field(default_factory=list)

    def log(self, message: str) -> None:
        self.logged.append(message)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "GRAFTWORK_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    reckless = functools.partial(downloads.download, allow_private=True, patience=HASTY)
    monkeypatch.setattr(downloads, "download", reckless)
    with serving() as server:
        yield server


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    (tmp_path / "mirror").mkdir()
    return Desk(tmp_path / "mirror", tmp_path / "partial", Heard())


@dataclass
class World:
    """A set that is published at the server, and small."""

    name: Name
    files: Mapping[str, bytes]
    site: Server
    desk: Desk
    root: Path

    @property
    def mirror(self) -> Path:
        assert self.desk.mirror is not None
        return self.desk.mirror

    @property
    def logged(self) -> list[str]:
        assert isinstance(self.desk.progress, Heard)
        return self.desk.progress.logged

    def obtain(self, *accept: str) -> tuple[Path, dict[str, Any]]:
        """Obtain the set into a new folder."""
        folder = self.root / f"got {len(list(self.root.glob('got *')))}"
        folder.mkdir()
        return folder, TorchvisionSet(self.name, accept).obtain(folder, self.desk)

    def digest(self) -> str:
        """Obtain the set and return the sha256 of its one file."""
        folder, _ = self.obtain()
        return sha256_of_file(folder / f"{self.name}.npz")


Publish = Callable[..., World]


@pytest.fixture
def publish(site: Server, desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Publish:
    """Serve files as a set's own, with their checksums, and shrink the set to their size."""

    def serve(name: Name, files: Mapping[str, bytes], **size: int) -> World:
        site.files |= {f"/{file}": Served(content) for file, content in files.items()}
        table = tuple(
            Published(file, (site.url(f"/old/{file}"), site.url(f"/{file}")), hashlib.md5(content).hexdigest())
            for file, content in files.items()
        )
        monkeypatch.setattr("graftwork_plugins.origins.torchvision.published", lambda asked: table)
        form = replace(SETS[name].form, **size)  # of which the published sum isn't
        form = replace(form, sha256=None) if isinstance(form, Arrays) else form
        monkeypatch.setitem(SETS, name, replace(SETS[name], form=form))
        return World(name, files, site, desk, tmp_path)

    return serve


@pytest.fixture
def mnist(publish: Publish, tmp_path: Path) -> World:
    """MNIST with 20 and 10 images."""
    write_mnist(tmp_path / "served")
    files = {file.name: file.read_bytes() for file in sorted((tmp_path / "served").iterdir())}
    return publish("mnist", files, train=20, test=10)


def test_mnist_comes_from_the_network_with_a_second_place_to_look(mnist: World) -> None:
    folder, told = mnist.obtain()
    with np.load(folder / "mnist.npz") as archive:
        assert archive.files == ["x_train", "y_train", "x_test", "y_test", "classes"]
        assert archive["x_train"].shape == (20, 28, 28) and archive["y_test"].tolist() == list(range(10))
        assert archive["classes"].tolist() == list("0123456789")
    assert told["name"] == "mnist" and not {"from", "urls"} & told.keys()
    assert told["files"] == [{"name": "mnist.npz", "sha256": sha256_of_file(folder / "mnist.npz")}]
    assert any(line.startswith("From the network, http") and min(mnist.files) in line for line in mnist.logged)
    assert [path for path, _ in mnist.site.requests][:2] == [f"/old/{min(mnist.files)}", f"/{min(mnist.files)}"]
    assert not (mnist.desk.partial / "torchvision" / "mnist").exists()


@pytest.mark.parametrize("place", ["mnist.npz", "mnist", "MNIST/raw", "."])
def test_mirror_and_network_give_equal_bytes(mnist: World, place: str) -> None:
    first, expected = mnist.obtain()
    if place == "mnist.npz":
        arrays = write_mnist(mnist.root / "again")
        np.savez_compressed(mnist.mirror / place, **arrays)  # type: ignore[arg-type]
    else:
        write_folder(mnist.mirror / place, dict(mnist.files))
    mnist.site.requests.clear()
    folder, told = mnist.obtain()
    assert (folder / "mnist.npz").read_bytes() == (first / "mnist.npz").read_bytes()
    assert told == expected and "stands_in" not in told
    assert not mnist.site.requests and any(line.startswith("From the mirror: ") for line in mnist.logged)


def test_the_bytes_hang_on_nothing_but_the_arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = {"x": np.arange(6).reshape(2, 3).T, "classes": np.array(["a", "ä"])}
    canonical.write_npz(tmp_path / "one.npz", arrays)
    monkeypatch.setattr(time, "time", lambda: 2e9)
    canonical.write_npz(tmp_path / "two.npz", arrays)
    digest = sha256_of_file(tmp_path / "one.npz")
    assert digest == sha256_of_file(tmp_path / "two.npz")
    with np.load(tmp_path / "one.npz", allow_pickle=False) as archive:
        assert all(np.array_equal(archive[name], arrays[name]) for name in arrays)
    with zipfile.ZipFile(tmp_path / "one.npz") as content:
        assert {info.date_time for info in content.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_an_altered_file_in_the_mirror_is_passed_over_and_told_of(mnist: World) -> None:
    expected = mnist.digest()
    altered = {name: content[:-1] + b"!" for name, content in mnist.files.items()}
    write_folder(mnist.mirror / "mnist", altered)
    assert mnist.digest() == expected
    assert any("passed over in the mirror's folder mnist: t10k" in line for line in mnist.logged)


def test_files_that_the_mirror_lacks_come_from_the_network(mnist: World) -> None:
    expected = mnist.digest()
    first, *others = mnist.files
    write_folder(mnist.mirror / "mnist", {name: mnist.files[name] for name in others})
    mnist.site.requests.clear()
    assert mnist.digest() == expected
    assert {path.rpartition("/")[2] for path, _ in mnist.site.requests} == {first}


def test_what_came_before_a_failure_is_not_fetched_again(mnist: World) -> None:
    first, second, *_ = mnist.files
    body = mnist.site.files.pop(f"/{second}")
    with pytest.raises(DataError, match="MNIST can't be had"):
        mnist.obtain()
    mnist.site.files[f"/{second}"] = body
    mnist.site.requests.clear()
    mnist.obtain()
    assert f"/{first}" not in [path for path, _ in mnist.site.requests]


def test_a_set_that_is_nowhere_tells_where_it_could_be(mnist: World) -> None:
    mnist.site.files.clear()
    with pytest.raises(DataError, match=r"MNIST can't be had: http.*404") as raised:
        mnist.obtain()
    assert raised.value.expected.startswith("in the mirror: mnist.npz, or mnist/t10k-images-idx3-ubyte.gz")
    assert raised.value.where == str(mnist.mirror) and not list(mnist.root.rglob("*.npz"))


def test_offline_nothing_is_asked_for(mnist: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFTWORK_OFFLINE", "1")
    with pytest.raises(DataError, match="GRAFTWORK_OFFLINE forbids the network") as raised:
        mnist.obtain()
    assert "mnist.npz" in raised.value.expected and not mnist.site.requests


def test_another_file_than_the_published_is_refused(mnist: World) -> None:
    mnist.site.files[f"/{min(mnist.files)}"] = Served(mnist.files[min(mnist.files)][:-1])
    with pytest.raises(DataError, match="isn't the one that was published"):
        mnist.obtain()


def small_npz(path: Path, **changed: Any) -> None:
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {
        "x_train": rng.integers(0, 256, (10, 28, 28), dtype=np.uint8), "y_train": np.arange(10),
        "x_test": rng.integers(0, 256, (10, 28, 28), dtype=np.uint8), "y_test": np.arange(10),
    }  # fmt: skip
    np.savez(path, **(arrays | changed))


def test_a_part_of_a_set_is_refused_under_its_name_and_may_stand_in_under_another(mnist: World) -> None:
    small_npz(mnist.mirror / "mnist.npz")
    with pytest.raises(DataError, match="10 training and 10 test images") as raised:
        mnist.obtain()
    assert "named in accept" in raised.value.fix
    (mnist.mirror / "mnist.npz").rename(mnist.mirror / "mnist_small.npz")
    folder, told = mnist.obtain("not_there", "mnist_small")
    assert told["stands_in"] == "mnist_small" and told["files"][0]["name"] == "mnist.npz"
    assert not mnist.site.requests and any("stands in for MNIST" in line for line in mnist.logged)
    with np.load(folder / "mnist.npz") as archive:
        assert len(archive["x_train"]) == 10 and archive["classes"].tolist() == list("0123456789")


@pytest.mark.parametrize("change", ["images", "labels"])
def test_an_archive_that_is_called_as_a_set_and_has_its_shape_is_known_by_its_sum(
    mnist: World, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    expected, arrays = mnist.digest(), write_mnist(mnist.root / "again")
    pinned = replace(SETS["mnist"].form, sha256=canonical.sum_of(arrays))
    monkeypatch.setitem(SETS, "mnist", replace(SETS["mnist"], form=pinned))
    np.savez(mnist.mirror / "mnist.npz", **arrays, classes=np.array([f"digit {n}" for n in range(10)]))  # type: ignore[arg-type]
    assert mnist.digest() == expected
    arrays["x_train"] = 255 - arrays["x_train"] if change == "images" else arrays["x_train"]
    arrays["y_train"] = arrays["y_train"][::-1] if change == "labels" else arrays["y_train"]
    np.savez(mnist.mirror / "mnist.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="aren't those of the set") as raised:
        mnist.obtain()
    assert "named in accept" in raised.value.fix and raised.value.expected == pinned.sha256
    (mnist.mirror / "mnist.npz").rename(mnist.mirror / "mine.npz")
    assert mnist.obtain("mine")[1]["stands_in"] == "mine"


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_the_sums_are_those_of_the_sets(shared_data: Path, name: str) -> None:
    with np.load(shared_data / f"{name}.npz") as archive:
        form = SETS[name].form
        assert isinstance(form, Arrays) and canonical.sum_of(archive) == form.sha256


def test_a_set_itself_comes_before_what_may_stand_in(mnist: World) -> None:
    expected = mnist.digest()
    small_npz(mnist.mirror / "mnist_small.npz")
    write_folder(mnist.mirror / "mnist", dict(mnist.files))
    folder, told = mnist.obtain("mnist_small")
    assert "stands_in" not in told and sha256_of_file(folder / "mnist.npz") == expected


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"x_train": np.zeros((10, 32, 32), dtype=np.uint8)}, r"\(1, 32, 32\), test images \(1, 28, 28\)"),
        ({"x_train": np.zeros((10, 8, 8), dtype=np.uint8), "x_test": np.zeros((10, 8, 8), dtype=np.uint8)}, "8, 8"),
        ({"y_train": np.arange(9)}, "20 images but 19 labels"),
        ({"y_train": np.arange(10) + 1}, "label 10 of image 9 is out of range"),
        ({"y_train": np.zeros(10, dtype=int), "y_test": np.zeros(10, dtype=int)}, "'1' has no images"),
    ],
)
def test_a_stand_in_of_another_kind_is_refused(mnist: World, changed: dict[str, Any], words: str) -> None:
    small_npz(mnist.mirror / "other.npz", **changed)
    with pytest.raises(DataError, match=words):
        mnist.obtain("other")


def test_an_archive_without_a_split_cannot_stand_in(mnist: World) -> None:
    np.savez(mnist.mirror / "other.npz", images=np.zeros((4, 28, 28), dtype=np.uint8), labels=np.arange(4))
    with pytest.raises(DataError, match="no training and test images"):
        mnist.obtain("other")


def tar_of(tmp_path: Path, files: Mapping[str, bytes]) -> bytes:
    return write_tar(tmp_path / "packed.tar.gz", files).read_bytes()


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_comes_with_its_own_names(publish: Publish, name: Name, tmp_path: Path) -> None:
    files = packed(cifar10("python") if name == "cifar10" else cifar100("python"))
    size = {"train": 50, "test": 10} if name == "cifar10" else {"train": 100, "test": 100}
    world = publish(name, {f"{name}-python.tar.gz": tar_of(tmp_path, files)}, **size)
    folder, _ = world.obtain()
    raw = Npz().load(folder / f"{name}.npz", COLOUR)
    raw.check("here")
    assert raw.images.shape[1:] == (3, 32, 32) and raw.classes[0] == ("airplane" if name == "cifar10" else "fine 0")


def mat(**arrays: Any) -> bytes:
    from scipy.io import savemat

    stream = io.BytesIO()
    savemat(stream, arrays)
    return stream.getvalue()


def test_svhn_calls_its_tenth_digit_zero(publish: Publish) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 10), dtype=np.uint8)
    labels = np.arange(1, 11, dtype=np.uint8)[:, None]
    files = {f"{part}_32x32.mat": mat(X=pixels, y=labels, other="text") for part in ("train", "test")}
    folder, _ = publish("svhn", files, train=10, test=10).obtain()
    with np.load(folder / "svhn.npz") as archive:
        assert archive["y_train"].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]
        assert np.array_equal(archive["x_train"][3], pixels[..., 3])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", r"\.mat file can't be read"),
        (b"<html>404</html>" * 50, r"\.mat file can't be read"),
        (mat(X=np.zeros((32, 32, 3, 2), dtype=np.uint8)), "no numbers 'y'"),
        (mat(X="text", y=[1, 2]), "no numbers 'X'"),
        (mat(X=np.zeros((32, 32, 3), dtype=np.uint8), y=[1, 2]), r"X is uint8 of shape \(32, 32, 3\)"),
        (mat(X=np.zeros((32, 32, 3, 2), dtype=np.uint8), y=[1, 2, 3]), "y isn't a label"),
        (mat(X=np.zeros((32, 32, 3, 2), dtype=np.uint8), y=[0, 1]), "y isn't a label"),
    ],
)
def test_a_matlab_file_of_something_else_is_refused(publish: Publish, content: bytes, words: str) -> None:
    files = {f"{part}_32x32.mat": content for part in ("train", "test")}
    with pytest.raises(DataError, match=words):
        publish("svhn", files, train=2, test=2).obtain()


def test_stl_10_is_turned_upright_and_its_unlabelled_images_are_passed_over(publish: Publish, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (10, 3, 96, 96), dtype=np.uint8)
    columns_first = pixels.transpose(0, 1, 3, 2).tobytes()
    files = {f"stl10_binary/{part}_X.bin": columns_first for part in ("train", "test")}
    files |= {f"stl10_binary/{part}_y.bin": bytes(range(1, 11)) for part in ("train", "test")}
    files["stl10_binary/unlabeled_X.bin"] = bytes(1000)
    folder, _ = publish("stl10", {"stl10_binary.tar.gz": tar_of(tmp_path, files)}, train=10, test=10).obtain()
    raw = Npz().load(folder / "stl10.npz", COLOUR)
    assert np.array_equal(raw.images[:10], pixels) and raw.labels[10:].tolist() == list(range(10))
    del files["stl10_binary/test_y.bin"]
    with pytest.raises(DataError, match=r"Files are missing: test_y\.bin"):
        publish("stl10", {"stl10_binary.tar.gz": tar_of(tmp_path, files)}, train=10, test=10).obtain()


def jpeg(colour: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (12, 10), (colour, colour, colour)).save(stream, "JPEG")
    return stream.getvalue()


def test_flowers_keep_the_split_of_their_authors(publish: Publish, tmp_path: Path) -> None:
    files = {
        "102flowers.tgz": tar_of(tmp_path, {f"jpg/image_{n:05d}.jpg": jpeg(20 * n) for n in range(1, 7)}),
        "imagelabels.mat": mat(labels=np.array([[1, 2, 1, 2, 1, 2]])),
        "setid.mat": mat(trnid=np.array([[1, 2]]), valid=np.array([[5, 6]]), tstid=np.array([[3, 4]])),
    }
    folder, told = publish("flowers102", files, count=6).obtain()
    raw = ImageFolder().load(folder, COLOUR)
    assert raw.classes == ("hard-leaved pocket orchid", "pink primrose")
    assert raw.split is not None and sorted(raw.split.tolist()) == sorted(["train", "validation", "test"] * 2)
    assert (folder / "validation" / "pink primrose" / "image_00005.jpg").read_bytes() == jpeg(100)
    assert [file["name"] for file in told["files"]] == list(files)


def test_pets_are_sorted_by_breed(publish: Publish, tmp_path: Path) -> None:
    names = [f"{breed}_{number}" for breed in ("Abyssinian", "great_pyrenees") for number in (1, 10)]
    lists = {
        "annotations/trainval.txt": "Abyssinian_1 1 1 1\ngreat_pyrenees_10 2 2 1\n",
        "annotations/test.txt": "Abyssinian_10 1 1 1\ngreat_pyrenees_1 2 2 1\n",
    }
    files = {
        "images.tar.gz": tar_of(tmp_path, {f"images/{name}.jpg": jpeg(50) for name in [*names, "unlisted_1"]}),
        "annotations.tar.gz": tar_of(tmp_path, {name: text.encode() for name, text in lists.items()}),
    }
    folder, _ = publish("oxford_iiit_pet", files, count=4).obtain()
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.jpg"))
    assert found == [
        "test/Abyssinian/Abyssinian_10.jpg", "test/Great Pyrenees/great_pyrenees_1.jpg",
        "train/Abyssinian/Abyssinian_1.jpg", "train/Great Pyrenees/great_pyrenees_10.jpg",
    ]  # fmt: skip


def eurosat_zip(tmp_path: Path) -> bytes:
    files = {f"2750/{name}/{name}_{number}.jpg": jpeg(9) for name in pictures.EUROSAT for number in (1, 2)}
    strange = {"../River/River_3.jpg": jpeg(9), "2750/River/../x.jpg": b"x", "2750/Moon/Moon_1.jpg": b"x"}
    return write_zip(tmp_path / "packed.zip", files | strange).read_bytes()


def test_only_known_places_are_written_to(publish: Publish, tmp_path: Path) -> None:
    folder, _ = publish("eurosat", {"EuroSAT.zip": eurosat_zip(tmp_path)}, count=21).obtain()
    raw = ImageFolder().load(folder, COLOUR)
    assert raw.classes == pictures.EUROSAT and raw.split is None
    assert sorted(path.name for path in folder.iterdir()) == sorted(pictures.EUROSAT)
    assert (folder / "River" / "River_3.jpg").exists() and not list(tmp_path.rglob("x.jpg"))


def test_a_folder_of_pictures_is_told_of_equally_wherever_it_came_from(publish: Publish, tmp_path: Path) -> None:
    world = publish("eurosat", {"EuroSAT.zip": eurosat_zip(tmp_path)}, count=21)
    one, told = world.obtain()
    write_folder(world.mirror / "eurosat", dict(world.files))
    world.site.requests.clear()
    other, again = world.obtain()
    assert told == again and not world.site.requests
    found = [{p.relative_to(at): p.read_bytes() for p in at.rglob("*.jpg")} for at in (one, other)]
    assert found[0] == found[1] and len(found[0]) == 21


def test_a_set_of_pictures_must_be_whole(publish: Publish, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="The set has 21 pictures"):
        publish("eurosat", {"EuroSAT.zip": eurosat_zip(tmp_path)}, count=22).obtain()
    files = {
        "images.tar.gz": tar_of(tmp_path, {"images/Birman_1.jpg": jpeg(50)}),
        "annotations.tar.gz": tar_of(tmp_path, {"trainval.txt": b"Birman_1 1 1 1\nBirman_2 1 1 1\n", "test.txt": b""}),
    }
    with pytest.raises(DataError, match="1 of the 2 pictures"):
        publish("oxford_iiit_pet", files, count=2).obtain()


@pytest.mark.parametrize("line", ["../../etc_1 1 1 1", "/etc/passwd_1 1 1 1", "Birman_1", "a b c d"])
def test_a_list_that_names_other_places_is_refused(publish: Publish, tmp_path: Path, line: str) -> None:
    files = {
        "images.tar.gz": tar_of(tmp_path, {"images/Birman_1.jpg": jpeg(50)}),
        "annotations.tar.gz": tar_of(tmp_path, {"trainval.txt": line.encode(), "test.txt": b""}),
    }
    with pytest.raises(DataError, match="a line that isn't known"):
        publish("oxford_iiit_pet", files, count=1).obtain()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"name": "imagenet"}, "name"),
        ({"name": "mnist", "accept": ["../secret"]}, "isn't the name of a file in the mirror"),
        ({"name": "mnist", "accept": [".hidden"]}, "isn't the name of a file in the mirror"),
        ({"name": "flowers102", "accept": ["flowers_small"]}, "nothing can stand in for flowers102"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_once(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        load_plugins().create("origin", Use.model_validate({"torchvision": settings}))


def test_the_table_says_what_torchvision_says() -> None:
    define_missing()
    from torchvision import datasets

    assert set(get_args(Name)) == SETS.keys() == TorchvisionSet.PUBLISHED.keys()
    for name in SETS:
        files = published.published(name)
        assert files and all(len(file.md5) == 32 and file.urls[0].endswith(file.name) for file in files)
    source = inspect.getsource(datasets.EuroSAT.download)
    assert published.EUROSAT in source and published.EUROSAT_MD5 in source
    classes = {name: chosen.form.classes for name, chosen in SETS.items() if isinstance(chosen.form, Arrays)}
    assert list(classes["fashion_mnist"]) == datasets.FashionMNIST.classes
    assert list(classes["kmnist"]) == datasets.KMNIST.classes
    assert [name[0] for name in datasets.MNIST.classes] == list(classes["mnist"])
    assert len(classes["cifar100"]) == 100 and list(classes["cifar100"]) == sorted(classes["cifar100"])
    assert {name for name, known in TorchvisionSet.PUBLISHED.items() if known.dataset == "image_folder"} == {
        name for name, chosen in SETS.items() if isinstance(chosen.form, Pictures)
    }


def test_a_torchvision_that_says_it_otherwise_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    define_missing()
    from torchvision import datasets

    monkeypatch.delattr(datasets.OxfordIIITPet, "_RESOURCES")
    with pytest.raises(PluginError, match=r"torchvision \d.* doesn't say where oxford_iiit_pet is"):
        published.published("oxford_iiit_pet")


def test_mnist_of_the_mirror_is_the_whole_set(shared_data: Path, tmp_path: Path) -> None:
    heard = Heard()
    told = TorchvisionSet("mnist").obtain(tmp_path, Desk(shared_data, tmp_path / "partial", heard))
    raw = Npz().load(tmp_path / "mnist.npz", COLOUR)
    assert raw.images.shape == (70_000, 1, 28, 28) and raw.classes == tuple("0123456789")
    assert told["licence"] and told["files"][0]["sha256"] == sha256_of_file(tmp_path / "mnist.npz")
    assert any(line.startswith("From the mirror: mnist.npz, sha256 06af5dfe") for line in heard.logged)


@pytest.mark.parametrize(("name", "count"), [("cifar10", 10), ("cifar100", 100)])
def test_a_small_cifar_stands_in(shared_data: Path, tmp_path: Path, name: Name, count: int) -> None:
    desk = Desk(shared_data, tmp_path / "partial", Quiet())
    told = TorchvisionSet(name, (f"{name}_small",)).obtain(tmp_path, desk)
    raw = Npz().load(tmp_path / f"{name}.npz", COLOUR)
    form = SETS[name].form
    assert isinstance(form, Arrays) and raw.classes == form.classes and len(raw.classes) == count
    assert told["stands_in"] == f"{name}_small" and len(raw.images) == 6_000
