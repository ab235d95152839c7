import gzip
import hashlib
import io
import pickle
import socket
import subprocess
import sys

import numpy as np
import pytest
import scipy.io
import torch
from archives import as_tar, png
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from logitnorm import data
from logitnorm.study.images import load, main, sha256
from PIL import Image
from scipy.stats import chisquare, norm
from torchvision import transforms
from torchvision.transforms import functional

EMBEDDED = ("brick", "grass", "gravel", "text", "hubble", "photos")
GENERATED = ("gaussian_noise", "uniform_noise")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Every test has a cache directory of its own; it does not exist before something is put there."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("LOGITNORM_DATA", str(folder))
    return folder


def random_images(n, *shape, seed=0):
    return np.random.RandomState(seed).randint(0, 256, (n, *shape)).astype(np.uint8)


def by_the_papers_transform(images):
    official = transforms.Compose([transforms.Resize(32), transforms.CenterCrop(32)])
    return np.stack([official(Image.fromarray(image).convert("RGB")) for image in images])


def store(cache, file, **arrays):
    cache.mkdir(exist_ok=True)
    np.savez(cache / file, **arrays)
    return cache / file


def refused(call, *parts):
    """The call raises a DataError of one line, which ends like a sentence and names `parts`."""
    with pytest.raises(data.DataError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message and message.endswith("."), message
    for part in parts:
        assert str(part) in message, message


# --- crop and flip ----------------------------------------------------------------------------------------

def by_torchvision(image, top, left, flip, padding, size):
    """RandomCrop(size, padding) and RandomHorizontalFlip of one image H x W x C, with the draws given."""
    x = functional.pad(image.permute(2, 0, 1), padding)
    x = functional.crop(x, top, left, size, size)
    return (functional.hflip(x) if flip else x).permute(1, 2, 0)


@given(st.data())
@settings(max_examples=60)
def test_crop_flip_equals_torchvision_for_any_batch(draw):
    def number(low, high):
        return draw.draw(st.integers(low, high))

    n, channels, padding = number(1, 5), number(1, 4), number(0, 5)
    height, width = number(3, 12), number(3, 12)
    size = number(1, min(height, width))
    images = torch.from_numpy(random_images(n, height, width, channels, seed=number(0, 99)))
    one = st.tuples(st.integers(0, n - 1), st.integers(0, height + 2 * padding - size),
                    st.integers(0, width + 2 * padding - size), st.booleans())
    batch = draw.draw(st.lists(one, min_size=1))
    index, top, left, flip = (torch.tensor(column) for column in zip(*batch))
    got = data.crop_flip(data.pad(images, padding), index, top, left, flip, size)
    assert got.dtype == torch.uint8
    want = torch.stack([by_torchvision(images[i], t, l, f, padding, size) for i, t, l, f in batch])
    assert torch.equal(got, want)


@pytest.mark.parametrize("top, left", [(9, 0), (0, 9)])
def test_crop_flip_refuses_an_offset_outside_the_image(top, left):
    padded = data.pad(torch.zeros(2, 32, 32, 3, dtype=torch.uint8))
    assert padded.shape == (2, 40, 40, 3)
    with pytest.raises((IndexError, RuntimeError)):
        data.crop_flip(padded, *(torch.tensor([x]) for x in (0, top, left, False)))


def test_every_crop_is_drawn_equally_often():
    # Each pixel holds its own row and column, so that a crop tells its offset and whether it is mirrored.
    row, column = torch.meshgrid(torch.arange(40), torch.arange(40), indexing="ij")
    padded = torch.stack([row, column, column], dim=2).to(torch.uint8)[None]
    n = 16_200
    index = torch.zeros(n, dtype=torch.int64)
    crops = data.crop_flip(padded, index, *data.draw_crops(padded, n, torch.Generator().manual_seed(1))).long()
    top, first, last = crops[:, 0, 0, 0], crops[:, 0, 0, 1], crops[:, 0, -1, 1]
    left, flip = torch.minimum(first, last), (first > last).long()
    assert torch.equal((first - last).abs(), torch.full((n,), 31))
    counts = torch.bincount((top * 9 + left) * 2 + flip, minlength=162)
    assert len(counts) == 162 and chisquare(counts.numpy()).pvalue > 1e-4


def test_cutout_is_the_square_of_zeros_of_a_plain_loop():
    x = torch.randn(40, 3, 32, 32)
    row, column, on = data.draw_cutouts(40, torch.Generator().manual_seed(3))
    row[:4], column[:4], on[:4] = torch.tensor([0, 31, 0, 31]), torch.tensor([0, 31, 31, 0]), True  # the corners
    expected = x.clone()
    for b in range(40):
        if on[b]:
            top, left = row[b] - 8, column[b] - 8
            expected[b, :, max(0, top):min(32, top + 16), max(0, left):min(32, left + 16)] = 0
    assert torch.equal(data.cutout(x, row, column, on, 16), expected)
    assert 0 < on.sum() < 40 and (expected[0, 0] == 0).sum() == 64


def test_to_float_equals_totensor_and_normalize():
    images = random_images(8, 32, 32, 3)
    official = transforms.Compose([transforms.ToTensor(), transforms.Normalize(data.MEAN, data.STD)])
    want = torch.stack([official(Image.fromarray(image)) for image in images])
    batch = torch.from_numpy(images)
    got = data.to_float(batch)
    assert got.dtype == torch.float32 and got.shape == (8, 3, 32, 32)
    assert got.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(got, want, rtol=0, atol=1e-6)
    assert np.array_equal(batch, images)  # the batch itself is left alone
    torch.testing.assert_close(data.to_float(batch), got, rtol=0, atol=0)


# --- the cache directory ----------------------------------------------------------------------------------

def test_load_reads_the_cache_first(cache):
    images, labels = random_images(6, 32, 32, 3), np.array([0, 1, 2, 3, 9, 9], dtype=np.int32)
    store(cache, "cifar10-train.npz", images=images, labels=labels)
    store(cache, "brick-test.npz", images=images, labels=labels)
    got = data.load("cifar10", "train")
    assert got.images.dtype == torch.uint8 and np.array_equal(got.images, images)
    assert got.labels.dtype == torch.int64 and got.labels.tolist() == labels.tolist()
    brick = data.load("brick")
    assert np.array_equal(brick.images, images) and brick.labels is None


def test_cache_directory_defaults_to_the_users(monkeypatch, tmp_path):
    monkeypatch.delenv("LOGITNORM_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert data.cache_dir() == tmp_path / "logitnorm"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data.cache_dir() == tmp_path / ".cache" / "logitnorm"
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)  # knows nobody
    refused(lambda: data.load("brick"), "home directory", "set LOGITNORM_DATA to a folder")


@pytest.mark.parametrize("where, said", [("pathlib.Path.exists", "set LOGITNORM_DATA to a folder"), ("zipfile.ZipFile", "change its permissions")])
def test_images_of_another_user_are_not_called_damaged(cache, monkeypatch, capsys, where, said):
    store(cache, "brick-test.npz", images=random_images(2, 32, 32, 3))

    def denied(*given):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(where, denied)  # root may read what a test forbids
    assert main(["brick"]) == 1
    [sentence] = capsys.readouterr().err.splitlines()
    assert said in sentence and "damaged" not in sentence


@pytest.mark.parametrize("shape", [(40, 50, 3), (50, 40, 3), (64, 64, 3), (36, 36, 3), (20, 31, 3), (28, 28)])
def test_other_sizes_get_the_papers_transform(cache, shape):
    images = random_images(3, *shape)
    store(cache, "mnist-test.npz", images=images)
    assert np.array_equal(data.load("mnist").images, by_the_papers_transform(images))


def test_sha256_is_of_the_raw_bytes():
    images = torch.from_numpy(random_images(2, 32, 32, 3))
    assert sha256(images) == hashlib.sha256(images.numpy().tobytes()).hexdigest()
    sliced = images.flip(1)[:, ::2]
    assert sha256(sliced) == hashlib.sha256(sliced.numpy().tobytes(order="C")).hexdigest()


# --- sets that need no download ---------------------------------------------------------------------------

@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("the network was used")
    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_digits_are_a_fixed_stratified_split(no_network, cache):
    train, test = data.load("digits", "train"), data.load("digits")
    assert train.images.shape == (1437, 32, 32, 3) and test.images.shape == (360, 32, 32, 3)
    all_counts = torch.bincount(torch.cat([train.labels, test.labels]))
    assert all_counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]  # of the UCI test set
    assert (torch.bincount(test.labels) - all_counts * 360 / 1797).abs().max() < 1
    assert torch.equal(data.load("digits").images, test.images)
    keys = [{image.numpy().tobytes() for image in part.images} for part in (train, test)]
    assert not keys[0] & keys[1]
    assert not cache.exists()


def test_digits_keep_their_grey_levels(no_network):
    from sklearn.datasets import load_digits

    small = load_digits().images
    test = data.load("digits").images
    # Averaging 4 x 4 blocks undoes the enlargement but for its smoothing: every image is nearest to its own.
    blocks = test[..., 0].reshape(-1, 8, 4, 8, 4).double().mean(dim=(2, 4)) / 255 * 16
    distances = torch.cdist(blocks.flatten(1), torch.from_numpy(small.reshape(-1, 64)))
    nearest = torch.from_numpy(load_digits().target)[distances.argmin(1)]
    assert (nearest == data.load("digits").labels).all()
    assert len(distances.argmin(1).unique()) == 360


@pytest.mark.parametrize("name", EMBEDDED)
def test_embedded_sets_are_different_patches(no_network, cache, name):
    images, labels = data.load(name)
    assert labels is None and images.dtype == torch.uint8 and images.shape[1:] == (32, 32, 3)
    assert 120 <= len(images) <= 200
    assert str(len(images)) in data.SETS[name].source
    assert len({image.numpy().tobytes() for image in images}) > 0.95 * len(images)
    assert images.float().flatten(1).std(1).median() > 5  # patches of something, not of an even surface
    assert not cache.exists()


def test_patches_are_cut_where_they_should(no_network):
    from skimage import data as skimage_data

    brick = skimage_data.brick()
    tiles = brick.reshape(16, 32, 16, 32).swapaxes(1, 2).reshape(256, 32, 32)
    want = tiles[[i * 256 // 160 for i in range(160)]]
    got = data.load("brick").images
    for channel in range(3):
        assert np.array_equal(got[..., channel], want)
    astronaut = Image.fromarray(skimage_data.astronaut()[:96, 96:192]).resize((32, 32), Image.BILINEAR)
    assert np.array_equal(data.load("photos").images[1], np.asarray(astronaut))


@pytest.mark.parametrize("name, digest, below", [("gaussian_noise", "fb6cf16fdf03", norm.cdf(0.25, 0.5, 1)),
                                                 ("uniform_noise", "adaa16f1560a", 0.25)])
def test_noise_is_of_its_distribution_and_the_same_everywhere(no_network, name, digest, below):
    """Hyper-parameters are chosen on noise, so it must not change with the machine or a version of NumPy."""
    images = data.load(name).images
    assert images.shape == (2000, 32, 32, 3) and sha256(images).startswith(digest)
    assert (images / 255 < 0.25).float().mean().item() == pytest.approx(below, abs=0.002)


# --- official downloads, from a server on this machine ----------------------------------------------------

IMAGE = random_images(1, 32, 32, 3)
ONE = as_tar({"1.png": png(IMAGE[0])})  # an archive of one image


def offer(server, monkeypatch, name, content, checksum=None, path="/archive.tar.gz", count=None, field="archive"):
    server.files[path] = content
    checksum = checksum or "md5:" + hashlib.md5(content).hexdigest()
    monkeypatch.setitem(data.SETS, name, data.SETS[name]._replace(**{field: data.Archive((server.url + path,), checksum, count)}))


def also_at(server, monkeypatch, name, *paths):
    """The set's only address, or what `offer` gave it, comes after these."""
    archive = data.SETS[name].archive
    monkeypatch.setitem(data.SETS, name, data.SETS[name]._replace(
        archive=archive._replace(urls=(*(server.url + path for path in paths), *archive.urls))))


def files_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_archive_is_converted_once(server, monkeypatch, cache, tmp_path):
    small, wide, grey = (random_images(1, *shape)[0] for shape in ((32, 32, 3), (48, 80, 3), (40, 40)))
    members = {"../evil.png": png(small), "LSUN/c.jpg": png(grey), "LSUN/b.PNG": png(wide),
               "LSUN/readme.txt": b"not an image", "LSUN/._b.png": b"a hidden file", "/a.jpeg": png(small)}
    offer(server, monkeypatch, "lsun_r", as_tar(members))
    got = load("lsun_r")
    want = by_the_papers_transform((small, small, wide, grey))  # ../evil.png, /a.jpeg, b.PNG, c.jpg
    assert got.labels is None and np.array_equal(got.images, want)
    assert files_in(tmp_path) == ["cache", "cache/lsun_r-test.npz"]  # nothing extracted, nothing left behind
    server.files.clear()
    assert torch.equal(load("lsun_r").images, got.images)


def test_places_takes_evenly_spaced_names(server, monkeypatch):
    images = random_images(7, 32, 32, 3)
    order = [3, 0, 6, 2, 5, 1, 4]
    content = as_tar({f"val_256/Places365_val_{i:08}.png": png(images[i]) for i in order}, "w")
    offer(server, monkeypatch, "places365", content, count=3)
    assert np.array_equal(load("places365").images, images[[0, 2, 4]])


def test_lsun_crops_are_cut_not_scaled(server, monkeypatch, cache):
    images = random_images(2, 36, 36, 3)
    content = as_tar({f"LSUN/test/{i}.png": png(image) for i, image in enumerate(images)})
    offer(server, monkeypatch, "lsun_c", content)
    assert np.array_equal(load("lsun_c").images, images[:, 2:34, 2:34])
    store(cache, "lsun_c-test.npz", images=images)  # put there by hand
    assert np.array_equal(data.load("lsun_c").images, images[:, 2:34, 2:34])


@pytest.mark.parametrize("path, said", [("/gone.tar.gz", "404"), ("/lies.tar.gz", "not the recorded checksum"),
                                        ("/broken.tar.gz", "IncompleteRead"), ("/stall.tar.gz", "timed out")])
def test_the_next_address_takes_the_place_of_one_that_fails(server, monkeypatch, cache, capsys, path, said):
    offer(server, monkeypatch, "isun", ONE)
    also_at(server, monkeypatch, "isun", path)
    if path != "/gone.tar.gz":
        server.files[path] = b"<html>quota exceeded</html>" if path == "/lies.tar.gz" else ONE
    monkeypatch.setattr("pooch.downloaders.DEFAULT_TIMEOUT", 0.3)
    assert np.array_equal(load("isun").images, IMAGE)
    assert server.asked == [path, path, "/archive.tar.gz"]
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("no isun from")]
    assert server.url + path in line and said in line
    assert files_in(cache) == ["isun-test.npz"]


@pytest.mark.parametrize("path, times", [("/once.tar.gz", 2), ("/slow.tar.gz", 1)])
def test_a_transfer_that_breaks_off_once_is_done_again_and_a_slow_one_is_waited_for(server, monkeypatch, capsys, path, times):
    """The limit is of the time without a byte, not of the whole transfer."""
    offer(server, monkeypatch, "isun", ONE, path=path)
    monkeypatch.setattr("pooch.downloaders.DEFAULT_TIMEOUT", 0.6)
    assert np.array_equal(load("isun").images, IMAGE)
    assert server.asked == [path] * times and "no isun from" not in capsys.readouterr().err


def test_when_every_address_fails_all_are_named_nothing_is_left_and_the_next_try_works(server, monkeypatch, cache):
    offer(server, monkeypatch, "isun", b"another file", "md5:" + "0" * 32)
    also_at(server, monkeypatch, "isun", "/gone.tar.gz", "/broken.tar.gz")
    server.files["/broken.tar.gz"] = ONE
    refused(lambda: load("isun"), "the download of isun", "isun-test.npz", cache, f"{server.url}/gone.tar.gz: 404",
            f"{server.url}/broken.tar.gz: ", "IncompleteRead", f"{server.url}/archive.tar.gz: not the recorded checksum")
    assert files_in(cache) == []
    offer(server, monkeypatch, "isun", ONE)
    assert np.array_equal(load("isun").images, IMAGE)


def test_no_network(monkeypatch, cache, impatient):
    def unreachable(*args, **kwargs):
        raise socket.gaierror(-2, "Name or service not known")
    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    for name in ("lsun_c", "cifar100", "svhn", "mnist"):  # pooch, and torchvision's ways
        refused(lambda name=name: load(name), f"download of {name} failed", "Name or service not known", "network", f"{name}-test.npz", cache)
    assert files_in(cache) == []


@pytest.mark.slow
def test_killed_download_leaves_no_cached_file(server, monkeypatch, cache):
    offer(server, monkeypatch, "isun", ONE, path="/stall.tar.gz")
    program = (f"from logitnorm import data; from logitnorm.study.images import load; archive = data.Archive(*{tuple(data.SETS['isun'].archive)!r}); "
               "data.SETS['isun'] = data.SETS['isun']._replace(archive=archive); load('isun')")
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
    try:
        assert server.stall.wait(120)
    finally:
        process.kill()
    assert process.wait() == -9
    assert list(cache.glob("isun-*.part")) and not list(cache.glob("*.npz"))
    offer(server, monkeypatch, "isun", ONE)
    assert len(load("isun").images) == 1


def test_failed_write_leaves_no_cached_file(server, monkeypatch, cache):
    def disk_full(path, **arrays):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")
    offer(server, monkeypatch, "isun", ONE)
    monkeypatch.setattr(np, "savez", disk_full)
    refused(lambda: load("isun"), cache, "isun", "No space left", "LOGITNORM_DATA")
    assert files_in(cache) == []


def test_cache_that_cannot_be_written(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("LOGITNORM_DATA", str(tmp_path / "file" / "cache"))
    refused(lambda: load("isun"), tmp_path / "file" / "cache", "LOGITNORM_DATA")


def test_cifar_is_stored_with_both_splits(server, monkeypatch, cache):
    from torchvision.datasets import CIFAR10

    images, labels = random_images(12, 32, 32, 3), [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8]
    batches = {}
    for i, batch in enumerate([f"data_batch_{n}" for n in range(1, 6)] + ["test_batch"]):
        part = slice(2 * i, 2 * i + 2)
        batches[batch] = {"data": images[part].transpose(0, 3, 1, 2).reshape(2, -1), "labels": labels[part]}
    batches["batches.meta"] = {"label_names": list("abcdefghij")}
    members = {f"cifar-10-batches-py/{name}": pickle.dumps(batch) for name, batch in batches.items()}
    sums = {name: hashlib.md5(members[f"cifar-10-batches-py/{name}"]).hexdigest() for name in batches}
    content = as_tar(members)
    offer(server, monkeypatch, "cifar10", content, path="/cifar-10-python.tar.gz")
    monkeypatch.setattr(CIFAR10, "tgz_md5", hashlib.md5(content).hexdigest())
    monkeypatch.setattr(CIFAR10, "train_list", [[name, sums[name]] for name in list(batches)[:5]])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": sums["batches.meta"]})
    test = load("cifar10")
    server.files.clear()
    train = load("cifar10", "train")
    assert np.array_equal(test.images, images[10:]) and test.labels.tolist() == labels[10:]
    assert np.array_equal(train.images, images[:10]) and train.labels.tolist() == labels[:10]
    assert files_in(cache) == ["cifar10-test.npz", "cifar10-train.npz"]


def test_mnist_is_stored_in_colour(server, monkeypatch):
    def idx(array):  # the MNIST file format: two zeros, 8 = bytes, number of axes, sizes, values
        header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
        return gzip.compress(header + array.tobytes())
    digits = random_images(3, 28, 28)
    offer(server, monkeypatch, "mnist", idx(digits), path="/t10k-images-idx3-ubyte.gz")
    assert np.array_equal(load("mnist").images, by_the_papers_transform(digits))


@pytest.mark.parametrize("split, field", [("test", "archive"), ("train", "training_archive")])
def test_svhn_is_stored_upright_and_each_split_is_a_file_of_its_own(server, monkeypatch, cache, split, field):
    images, buffer = random_images(4, 32, 32, 3), io.BytesIO()
    scipy.io.savemat(buffer, {"X": images.transpose(1, 2, 3, 0), "y": np.array([[10], [1], [2], [3]])})
    path = f"/{split}_32x32.mat"
    offer(server, monkeypatch, "svhn", buffer.getvalue(), path=path, field=field)
    got = load("svhn", split)
    assert np.array_equal(got.images, images) and got.labels.tolist() == [0, 1, 2, 3]  # the file's 10 is the digit 0
    assert files_in(cache) == [f"svhn-{split}.npz"] and server.asked == [path]


def test_every_set_has_a_source():
    for name, info in data.SETS.items():
        assert info.title and info.source.endswith(".") and info.splits in (("test",), ("train", "test"))
        assert (info.num_classes > 0) == ("train" in info.splits)
        here = name == "digits" or name in EMBEDDED + GENERATED
        official = data.SETS[name].archive is not None
        assert [here, official, info.stands_in_for is not None].count(True) == 1, name
        if info.stands_in_for:
            assert data.SETS[info.stands_in_for].stands_in_for is None
    for archive in filter(None, (part for info in data.SETS.values() for part in (info.archive, info.training_archive))):
        kind, digest = archive.checksum.split(":")
        assert len(bytes.fromhex(digest)) == hashlib.new(kind).digest_size
        assert len(archive.urls) > 1 and len(set(archive.urls)) == len(archive.urls)


def test_facts_shared_with_torchvision_agree():
    from torchvision.datasets import CIFAR10, CIFAR100, DTD, MNIST, SVHN, Places365

    file, md5 = Places365._IMAGES_META["val", True]
    facts = {"textures": (DTD._URL, DTD._MD5), "places365": (Places365._BASE_URL + file, md5),
             "cifar10": (CIFAR10.url, CIFAR10.tgz_md5), "cifar100": (CIFAR100.url, CIFAR100.tgz_md5),
             "svhn": SVHN.split_list["test"][::2], "mnist": (MNIST.mirrors[0] + MNIST.resources[2][0], MNIST.resources[2][1])}
    found = [(data.SETS["svhn"].training_archive, SVHN.split_list["train"][::2])]
    for archive, (url, md5) in [*found, *((data.SETS[name].archive, fact) for name, fact in facts.items())]:
        assert (archive.urls[0], archive.checksum) == (url, f"md5:{md5}")


# --- errors -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name, split, known", [("cifar11", "test", data.SETS), ("textures", "train", ["'train'", "test"]),
                                                ("cifar10", "val", ["'val'", "train", "test"]), ("brick", "", ["''", "test"])])
def test_an_unknown_name_or_split_lists_the_known_ones(name, split, known):
    refused(lambda: data.load(name, split), name, *known)


@pytest.mark.parametrize("name", [name for name, info in data.SETS.items() if info.stands_in_for])
def test_missing_stand_in_names_the_official_set(no_network, cache, name):
    official = data.SETS[name].stands_in_for
    refused(lambda: data.load(name), cache / f"{name}-test.npz", f"use {official} ")


def test_an_official_set_that_is_not_there_is_not_downloaded_unasked(no_network, cache):
    refused(lambda: data.load("cifar10", "train"), cache / "cifar10-train.npz", "`python -m logitnorm data cifar10`")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"<html></html>", pickle.dumps([1, 2])])
def test_file_that_is_no_npz(cache, content):
    cache.mkdir()
    (cache / "isun-test.npz").write_bytes(content)
    refused(lambda: data.load("isun"), cache / "isun-test.npz", "damaged", "delete")


@given(st.data())
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_file_is_refused_or_harmless(cache, draw):
    images, labels = random_images(3, 32, 32, 3), np.array([1, 2, 3])
    path = store(cache, "cifar10-test.npz", images=images, labels=labels)
    content = bytearray(path.read_bytes())
    place = draw.draw(st.integers(0, len(content) - 1))
    if draw.draw(st.booleans()):
        content = content[:place]
    else:
        content[place] ^= draw.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        got = data.load("cifar10")
    except data.DataError as error:
        assert str(path) in str(error)
    else:  # the byte was one that nobody reads, such as a date
        assert np.array_equal(got.images, images) and got.labels.tolist() == labels.tolist()


def test_a_header_that_hides_the_end_of_the_array_is_refused(cache):
    """One bit of the header's length: NumPy would read an image set shifted by a byte, and never reach the CRC."""
    path = store(cache, "cifar10-test.npz", images=random_images(3, 32, 32, 3), labels=np.array([1, 2, 3]))
    content = bytearray(path.read_bytes())
    place = content.index(b"\x93NUMPY") + 8
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(data.DataError, match="cifar10-test.npz"):
        data.load("cifar10")


TWO = np.zeros((2, 32, 32, 3), np.uint8)


@pytest.mark.parametrize("arrays, parts", [
    ({"data": np.zeros(3)}, ["`images`", "data", "np.savez"]),
    ({}, ["`images`", "nothing"]),
    ({"images": np.array([{}], dtype=object)}, ["damaged"]),
    ({"images": np.zeros((2, 32, 32, 3), np.float32)}, ["float32", "uint8"]),
    ({"images": np.zeros((2, 3, 32, 32), np.uint8)}, ["(2, 3, 32, 32)", "H x W"]),
    ({"images": np.zeros((32, 32), np.uint8)}, ["(32, 32)", "H x W"]),
    ({"images": np.zeros((0, 32, 32, 3), np.uint8)}, ["must be uint8", "none of them 0"]),
    ({"images": np.zeros((2, 0, 32, 3), np.uint8)}, ["must be uint8", "none of them 0"]),
    ({"images": TWO}, ["`labels`", "write the file again"]),
    ({"images": TWO, "labels": np.zeros(3, int)}, ["(3,)", "2 integers"]),
    ({"images": TWO, "labels": np.zeros((2, 1), int)}, ["(2, 1)", "2 integers"]),
    ({"images": TWO, "labels": np.zeros(2)}, ["float64", "2 integers"]),
    ({"images": TWO, "labels": np.array([0, 10])}, ["0 to 10", "0 to 9"]),
    ({"images": TWO, "labels": np.array([-1, 0])}, ["-1 to 0", "0 to 9"]),
])
def test_wrong_arrays(cache, arrays, parts):
    path = store(cache, "cifar10-train.npz", **arrays)
    refused(lambda: data.load("cifar10", "train"), path, *parts)


# --- the command line -------------------------------------------------------------------------------------

def test_sets_are_fetched_with_one_line_for_each_split(capsys):
    assert main(["digits", "text"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines] == [
        "digits-train: 1", "digits-test: 360 images", "text-test: 130 images"]
    assert lines[2].endswith(sha256(data.load("text").images))


@pytest.mark.parametrize("names, sentence", [([], "name the sets"), (["svnh"], "there is no image set 'svnh'")])
def test_fetching_fails_with_one_sentence(capsys, names, sentence):
    assert main(names) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {sentence}") and all(name in line for name in data.SETS)


# --- the real images, where a cache directory holds them --------------------------------------------------

@pytest.mark.slow
@pytest.mark.parametrize("classes", [10, 100])
def test_real_cifar(real_images, monkeypatch, classes):
    if not (real_images / f"cifar{classes}-train.npz").exists():
        pytest.skip(f"{real_images} holds no cifar{classes}-train.npz")
    monkeypatch.setenv("LOGITNORM_DATA", str(real_images))
    train, test = data.load(f"cifar{classes}", "train"), data.load(f"cifar{classes}")
    assert torch.bincount(train.labels).tolist() == [50_000 // classes] * classes
    assert torch.bincount(test.labels).tolist() == [10_000 // classes] * classes
    if classes == 10:  # the well-known statistics of its training images
        mean = train.images.double().mean(dim=(0, 1, 2)) / 255
        torch.testing.assert_close(mean, torch.tensor([0.4914, 0.4822, 0.4465]).double(), rtol=0, atol=1e-4)


@pytest.mark.slow
def test_real_ood_sets(real_images, monkeypatch):
    monkeypatch.setenv("LOGITNORM_DATA", str(real_images))
    names = [path.name.removesuffix("-test.npz") for path in sorted(real_images.glob("*-test.npz"))]
    names = [name for name in names if name in data.SETS and data.SETS[name].num_classes == 0]
    assert names, f"{real_images} holds no OOD set"
    for name in names:
        images, labels = data.load(name)
        assert labels is None and len(images) >= 1000, name
        assert images.shape[1:] == (32, 32, 3) and images.dtype == torch.uint8, name
        assert images.float().std() > 20, name
