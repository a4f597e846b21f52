"""The published data sets: files with sizes, SHA-256s and addresses, and how they are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from dse.data.formats import Reader, binary_batches, idx_batches, python_batches, tar_batches
from dse.trial.datasets import DATA_SETS, DataSet


@dataclass(frozen=True, slots=True)
class File:
    """A published file: its name, its size in bytes, its SHA-256, and where it is published."""

    name: str
    size: int
    sha256: str
    address: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """One form in which a set is published: `files`, together in one of `folders`.

    The folders are relative to `data.root`. `read` makes batches of the files' contents.
    """

    folders: tuple[str, ...]
    files: tuple[File, ...]
    read: Reader

    @property
    def downloadable(self) -> bool:
        """Whether every file has an address."""
        return all(file.address for file in self.files)


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """A published data set and its forms; the first one found is read.

    `exact` says that the facts' digest is of the arrays themselves, not of published files.
    """

    name: str
    facts: DataSet
    forms: tuple[Form, ...]
    exact: bool = False


def _files(rows: str, address: str = "") -> tuple[File, ...]:
    """Files from rows of name, size and SHA-256; `address` is of the folder that has them."""
    return tuple(
        File(name, int(size), sha256, address and address + name)
        for name, size, sha256 in map(str.split, rows.strip().splitlines())
    )


# CIFAR. The MD5s of the batches are those of the published checksums that torchvision lists.

CIFAR10_BATCHES = _files("""
data_batch_1 31035704 54636561a3ce25bd3e19253c6b0d8538147b0ae398331ac4a2d86c6d987368cd
data_batch_2 31035320 766b2cef9fbc745cf056b3152224f7cf77163b330ea9a15f9392beb8b89bc5a8
data_batch_3 31035999 0f00d98ebfb30b3ec0ad19f9756dc2630b89003e10525f5e148445e82aa6a1f9
data_batch_4 31035696 3f7bb240661948b8f4d53e36ec720d8306f5668bd0071dcb4e6c947f78e9682b
data_batch_5 31035623 d91802434d8376bbaeeadf58a737e3a1b12ac839077e931237e0dcd43adcb154
test_batch   31035526 f53d8d457504f7cff4ea9e021afcf0e0ad8e24a91f3fc42091b8adef61157831
""")

CIFAR10_PYTHON, CIFAR10_BINARY, CIFAR100_BINARY = _files(
    """
cifar-10-python.tar.gz  170498071 6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce
cifar-10-binary.tar.gz  170052171 c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd
cifar-100-binary.tar.gz 168513733 58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec
""",
    "https://www.cs.toronto.edu/~kriz/",
)


def _archive(file: File, members: list[str], read: Reader) -> Form:
    """A form that is one compressed tar directly under `data.root`."""
    return Form(folders=("",), files=(file,), read=partial(tar_batches, names=members, read=read))


CIFAR10 = (
    Form(folders=("cifar-10-batches-py",), files=CIFAR10_BATCHES, read=python_batches),
    _archive(
        CIFAR10_PYTHON,
        [f"cifar-10-batches-py/{file.name}" for file in CIFAR10_BATCHES],
        python_batches,
    ),
    _archive(
        CIFAR10_BINARY,
        [f"cifar-10-batches-bin/{file.name}.bin" for file in CIFAR10_BATCHES],
        binary_batches,
    ),
)
CIFAR100 = (
    _archive(
        CIFAR100_BINARY,
        ["cifar-100-binary/train.bin", "cifar-100-binary/test.bin"],
        partial(binary_batches, labels=2),
    ),
)

# MNIST and Fashion-MNIST, compressed as published, and unpacked as torchvision leaves them.

MNIST_COMPRESSED = _files(
    """
train-images-idx3-ubyte.gz 9912422 440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609
train-labels-idx1-ubyte.gz 28881   3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c
t10k-images-idx3-ubyte.gz  1648877 8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6
t10k-labels-idx1-ubyte.gz  4542    f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6
""",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
MNIST_UNPACKED = _files("""
train-images-idx3-ubyte 47040016 ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db
train-labels-idx1-ubyte 60008    65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5
t10k-images-idx3-ubyte  7840016  0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7
t10k-labels-idx1-ubyte  10008    ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2
""")
FASHION_COMPRESSED = _files(
    """
train-images-idx3-ubyte.gz 26421880 3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84
train-labels-idx1-ubyte.gz 29515    a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845
t10k-images-idx3-ubyte.gz  4422102  346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073
t10k-labels-idx1-ubyte.gz  5148     67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5
""",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
)
FASHION_UNPACKED = _files("""
train-images-idx3-ubyte 47040016 c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888
train-labels-idx1-ubyte 60008    bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9
t10k-images-idx3-ubyte  7840016  5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b
t10k-labels-idx1-ubyte  10008    0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34
""")


def _idx(folders: tuple[str, ...], *forms: tuple[File, ...]) -> tuple[Form, ...]:
    return tuple(Form(folders=folders, files=files, read=idx_batches) for files in forms)


MNIST = _idx(("MNIST/raw", "mnist", ""), MNIST_COMPRESSED, MNIST_UNPACKED)
FASHION_MNIST = _idx(("FashionMNIST/raw", "fashion_mnist"), FASHION_COMPRESSED, FASHION_UNPACKED)

PUBLISHED: Mapping[str, Published] = MappingProxyType(
    {
        name: Published(name=name, facts=DATA_SETS[name], forms=forms, exact=name == "cifar10")
        for name, forms in (
            ("cifar10", CIFAR10),
            ("cifar100", CIFAR100),
            ("mnist", MNIST),
            ("fashion_mnist", FASHION_MNIST),
        )
    }
)
