"""Folders of images: their manifests, what is wrong with them, and what is cached."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from images import folder, settled, write

from dse.data import folder as image_folder
from dse.data.folder import Manifest, planned, prepare, read
from dse.data.store import DataError, Store
from dse.space.architecture import LAYOUTS
from dse.space.cost import cost
from dse.space.rules import printable
from dse.sweep.errors import RequestError
from dse.sweep.request import Request, read_request
from dse.trial.datasets import DATA_SETS
from dse.trial.protocol import Protocol
from dse.trial.question import SINCE, Trial, trial_from

FILES = {
    "train/cat/b.jpg": b"22",
    "train/cat/a.JPEG": b"1",
    "train/dog/c.Png": b"333",
    "val/dog/e.tiff": b"55555",
    "val/cat/d.webp": b"4444",
}
LISTING = (
    b"1 train/cat/a.JPEG\n2 train/cat/b.jpg\n3 train/dog/c.Png\n"
    b"4 val/cat/d.webp\n5 val/dog/e.tiff\n"
)
TEXT = f"2-3-2-{hashlib.sha256(LISTING).hexdigest()[:20]}"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write(tmp_path / "root", FILES)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


RULE = "`data.root` must hold train/ and val/ with a directory per class"


def lines(root: Path, cache: Path) -> set[str]:
    """What is wrong with a folder, without the rule and the folder's name."""
    with pytest.raises(DataError) as caught:
        read(root, cache)
    rule, *several = str(caught.value).splitlines()
    assert rule.startswith(f"{RULE}, got ")
    assert all(one.isprintable() for one in (rule, *several))
    name = f"{printable(str(root))}: "
    return {one.partition(name)[2] for one in several or [rule]}


def line(root: Path, cache: Path) -> str:
    """The one thing that is wrong with a folder."""
    (only,) = lines(root, cache)
    return only


# A scan -------------------------------------------------------------------------------------


def test_a_manifest_is_sorted_and_counts(root: Path, cache: Path) -> None:
    manifest = read(root, cache)
    assert manifest == Manifest(classes=("cat", "dog"), train=(2, 1), test=(1, 1), listing=LISTING)
    assert manifest.text == TEXT


def test_its_text_depends_on_names_and_sizes_alone(tmp_path: Path) -> None:
    shuffled = dict(reversed(FILES.items()))
    elsewhere = write(tmp_path / "elsewhere", {**shuffled, "train/cat/a.JPEG": b"x"})
    assert read(elsewhere, tmp_path / "1").text == TEXT
    texts = {TEXT}
    for number, (name, content) in enumerate(FILES.items()):
        longer = write(tmp_path / f"longer{number}", {**FILES, name: content + b"!"})
        other = {n: c for n, c in FILES.items() if n != name} | {name + ".png": content}
        renamed = write(tmp_path / f"renamed{number}", other)
        texts |= {read(folder, tmp_path / "2").text for folder in (longer, renamed)}
    assert len(texts) == 11


IGNORED = ("Thumbs.db", "desktop.ini", "README.txt", "a.JPEG.part", "jpg", "@eaDir/b.jpg", ".c.jpg")


def test_what_is_no_image_is_ignored_and_counted(root: Path, cache: Path) -> None:
    """Also in train/ and val/ themselves; a manifest is that of the images alone."""
    write(root, {f"{folder}/{name}": b"" for name in IGNORED for folder in ("train", "val/dog")})
    manifest = read(root, cache)
    assert manifest.text == TEXT
    kinds = (".db", ".ini", ".txt", ".part", "without suffix", "@eaDir", "hidden")
    assert manifest.ignored == dict.fromkeys(kinds, 2)


def test_hidden_names_are_ignored_and_links_are_followed(root: Path, cache: Path) -> None:
    write(root, {".git/x": b"", "train/.DS_Store": b"", "val/cat/.d.webp": b""})
    (root / "val/dog/e.tiff").rename(root / "aside")
    (root / "val/dog/e.tiff").symlink_to("../../aside")
    (root / "train/dog").rename(root / "dogs")
    (root / "train/dog").symlink_to("../dogs", target_is_directory=True)
    assert read(root, cache).text == TEXT


def test_names_may_be_any_bytes(root: Path, cache: Path) -> None:
    name = b"\xff \xc3\xa9.jpg"
    path = os.fsencode(root / "train" / "dog") + b"/" + name
    with open(path, "wb") as file:  # noqa: PTH123
        file.write(b"7777777")
    assert b"7 train/dog/" + name + b"\n" in read(settled(root), cache).listing
    assert read(root, cache) == read(root, cache / "new")


def _remove(*names: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        for name in names:
            (root / name).unlink()

    return change


def _write(name: str, content: bytes = b"x") -> Callable[[Path], None]:
    def change(root: Path) -> None:
        write(root, {name: content})

    return change


def _instead(name: str, make: Callable[[Path], object]) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        (root / name).unlink(missing_ok=True)
        make(root / name)

    return change


SUFFIXES = ".bmp .jpeg .jpg .pgm .png .ppm .tif .tiff .webp"
LOOP = "train/loop: Too many levels of symbolic links"
PROBLEMS = [
    (_remove("val/dog/e.tiff"), "val/dog/ has no images"),
    (_write("train/eel/f.png"), "val/ has no eel"),
    (_write("val/eel/f.png"), "train/ has no eel"),
    (_write("val/\u00e9glise/f.png"), "train/ has no \u00e9glise"),
    (lambda r: [(r / f"val/{n}").mkdir() for n in "xyz"], "train/ has no x and 2 more"),
    (_write("val/cat/x.gif"), f"val/cat/x.gif is of a format that cannot be read ({SUFFIXES} can)"),
    (_write("val/cat/a\nb.jpg"), "val/cat/a\\nb.jpg has a line break in its name"),
    (lambda r: (r / "val/cat/more").mkdir(), "val/cat/more is a directory within a class"),
    (lambda r: (r / "val/cat/x.jpg").mkdir(), "val/cat/x.jpg is a directory within a class"),
    (_instead("val/cat/x.jpg", os.mkfifo), "val/cat/x.jpg is not a file"),
    (_write("train/dog/c.Png", b""), "train/dog/c.Png is empty"),
    (_instead("train/dog/c.Png", lambda p: p.symlink_to("no")), "train/dog/c.Png is a broken link"),
    (_write("val/x.JPEG"), "val/x.JPEG is not in the directory of a class"),
    (_instead("train/loop", lambda p: p.symlink_to("loop")), LOOP),
]


@pytest.mark.parametrize(("change", "said"), PROBLEMS, ids=[said for _, said in PROBLEMS])
def test_a_problem_is_reported(
    change: Callable[[Path], object], said: str, root: Path, cache: Path
) -> None:
    change(root)
    for _ in range(2):  # nothing of it is cached
        assert line(root, cache) == said


def test_all_problems_are_listed_at_once(root: Path, cache: Path) -> None:
    for number in range(9):
        write(root, {f"val/cat/{number}.jpg": b""})
    (root / "train/dog/more").mkdir()
    write(root, {"train/dog/x.gif": b"x", "train/eel/y.png": b"x"})
    with pytest.raises(DataError) as caught:
        read(root, cache)
    rule, first, *others, last = str(caught.value).splitlines()
    assert rule == f"{RULE}, got 12 problems:"
    assert first == f"  {root}: val/ has no eel"
    assert f"  {root}: train/dog/more is a directory within a class" in others
    assert len(others) == 9
    assert last == "  and 2 more"


def test_a_class_with_a_line_break_in_its_name_is_refused(root: Path, cache: Path) -> None:
    write(root, {f"{part}/a\nb/x.png": b"x" for part in ("train", "val")})
    assert lines(root, cache) == {
        f"{part}/a\\nb has a line break in its name" for part in ("train", "val")
    }


def test_a_folder_without_classes_is_refused(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "val").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    assert lines(tmp_path, cache) == {"it has no train/", "val/ has no classes"}
    for missing in "nope\x07", "loop":
        with pytest.raises(DataError) as caught:
            read(tmp_path / missing, cache)
        got = f"got {str(tmp_path / missing)!r}; give data.root=DIR"
        assert str(caught.value) == f"`data.root` must be an existing folder, {got}"
    (tmp_path / "train").write_bytes(b"")
    assert lines(tmp_path, cache) == {"it has no train/", "val/ has no classes"}
    one = write(tmp_path / "one", {"train/cat/a.jpg": b"1", "val/cat/b.jpg": b"1"})
    assert line(one, cache) == "train/ has 1 class, at least 2 are needed"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_an_unreadable_folder_is_reported(root: Path, cache: Path) -> None:
    (root / "val/cat").chmod(0)
    try:
        assert line(root, cache) == f"{root}/val/cat: Permission denied"
    finally:
        (root / "val/cat").chmod(0o700)


# The cached manifest ----------------------------------------------------------------------


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The directories that were read."""
    paths: list[str] = []
    scandir = os.scandir

    def noted(path: Any) -> Any:
        paths.append(os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", noted)
    return paths


def test_a_file_that_is_changed_in_place_changes_the_manifest(root: Path, cache: Path) -> None:
    first = read(root, cache)
    (root / "val/cat/d.webp").write_bytes(b"longer")  # the directory keeps its time
    settled(root)
    assert b"6 val/cat/d.webp\n" in read(root, cache).listing
    (root / "val/cat/d.webp").write_bytes(b"4444")
    assert read(settled(root), cache) == first


def test_trials_take_the_manifest_that_their_command_found(
    root: Path, cache: Path, scans: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(root=root, cache=cache)
    assert planned(folder_protocol(), store) == read(root, cache)
    known = len(scans)
    monkeypatch.chdir(root.parent)
    for same in (root, Path("root")):  # known by its absolute path
        assert planned(folder_protocol(), replace(store, root=same)).text == TEXT
    (root / "train/cat/z.jpg").write_bytes(b"added during the sweep")
    assert planned(folder_protocol(), store).text == TEXT
    assert len(scans) == known
    assert len(list((cache / "image_folder").iterdir())) == 1
    with pytest.raises(DataError, match=r": 4 images in train/, were 3 \(`manifest` "):
        planned(folder_protocol(f"2-3-2-{0:020}"), store)
    assert len(scans) > known


def test_two_folders_have_a_cache_each(root: Path, cache: Path, scans: list[str]) -> None:
    other = write(root.parent / "other", {**FILES, "val/cat/d.webp": b"4"})
    texts = {one: read(one, cache).text for one in (root, other)}
    known = len(scans)
    for one, text in texts.items():
        assert planned(folder_protocol(text), Store(root=one, cache=cache)).text == text
    assert len(set(texts.values())) == 2
    assert len(scans) == known


def test_a_damaged_cache_is_not_used(root: Path, cache: Path) -> None:
    whole, store = read(root, cache), Store(root=root, cache=cache)
    (path,) = (cache / "image_folder").iterdir()
    content = path.read_bytes()
    assert content.endswith(LISTING)
    damaged = [content[:cut] for cut in (0, 1, 64, 65, 66, 200, len(content) - 1)]
    for place in range(0, len(content), 60):
        damaged.append(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    damaged += [content + b"\n", b"\0" * 100]
    for other in damaged:
        path.write_bytes(other)
        assert planned(folder_protocol(), store) == whole
        assert path.read_bytes() == content


def test_a_valid_file_of_another_kind_is_not_used(root: Path, cache: Path) -> None:
    whole, store = read(root, cache), Store(root=root, cache=cache)
    (path,) = (cache / "image_folder").iterdir()
    head = json.loads(path.read_bytes().splitlines()[1])
    for other in ({}, [], {**head, "format": 1}, {**head, "classes": 2}, {"format": 2}):
        content = json.dumps(other).encode() + b"\n1 train/x/y.jpg\n"
        path.write_bytes(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
        assert planned(folder_protocol(), store) == whole


def test_an_unwritable_cache_is_done_without(root: Path, cache: Path) -> None:
    cache.write_bytes(b"a file")
    for place in (cache, Path("/proc/dse")):
        assert read(root, place).text == TEXT
        assert planned(folder_protocol(), Store(root=root, cache=place)).text == TEXT
    assert cache.read_bytes() == b"a file"


def test_concurrent_processes_cache_one_whole_file(root: Path, cache: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from dse.data.folder import read\n"
        "print({read(Path(sys.argv[1]), Path(sys.argv[2])).text for _ in range(20)})"
    )
    command = [sys.executable, "-c", code, str(root), str(cache)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert {process.communicate(timeout=200)[0] for process in running} == {f"{{'{TEXT}'}}\n"}
    assert len(list((cache / "image_folder").iterdir())) == 1


# The question -------------------------------------------------------------------------------


def folder_protocol(manifest: str = TEXT) -> Protocol:
    question = {"data": "image_folder", "manifest": manifest, "image_size": 64, "train_share": 1.0}
    return Protocol(**question)  # type: ignore[arg-type]


def test_a_manifest_gives_the_facts() -> None:
    digest = "0123456789abcdef0123"
    facts = folder_protocol(f"1000-1281167-50000-{digest}").facts
    assert (facts.num_classes, facts.train, facts.test) == (1000, 1_281_167, 50_000)
    assert (facts.channels, facts.image_size, facts.digest) == (3, 0, digest)
    assert (facts.mean, facts.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.mark.parametrize(
    "manifest",
    [
        "",
        None,
        5,
        "None",
        "2-3-2",
        "2-3-2-0123456789abcdef012",
        "2-3-2-0123456789ABCDEF0123",
        "2-3-2-0123456789abcdef0123\n",
        "1-3-2-0123456789abcdef0123",
        "3-3-2-0123456789abcdef0123",
        "2-03-2-0123456789abcdef0123",
        "2-3-2147483648-0123456789abcdef0123",
        "2-" + "9" * 5000 + "-2-0123456789abcdef0123",
        "٢-3-2-0123456789abcdef0123",
    ],
)
def test_other_text_is_not_a_manifest(manifest: object) -> None:
    with pytest.raises(
        ValueError, match=r"`manifest` must be none, or CLASSES-TRAIN-TEST-DIGEST, got"
    ):
        Protocol(data="image_folder", manifest=manifest)  # type: ignore[arg-type]


def test_both_fields_belong_to_folders_alone() -> None:
    with pytest.raises(ValueError, match="must be CLASSES-TRAIN-TEST-DIGEST where `data` is image"):
        Protocol(data="image_folder")
    for data in DATA_SETS:
        with pytest.raises(ValueError, match=f"`manifest` must be none where `data` is {data}, "):
            Protocol(data=data, manifest=TEXT)
        with pytest.raises(ValueError, match=r"`normalise` must be dataset where .*, got caffe"):
            Protocol(data=data, normalise="caffe")


def test_a_trial_is_known_without_its_folder() -> None:
    layout, protocol = LAYOUTS["px64"], folder_protocol()
    trial = Trial(layout=layout, protocol=protocol)
    assert trial.architecture.num_classes == 2
    assert trial_from(trial.question) == trial
    others = [replace(protocol, normalise="caffe"), replace(protocol, manifest="2-3-2-" + "0" * 20)]
    ids = {Trial(layout=layout, protocol=p).trial_id for p in (protocol, *others)}
    assert len(ids) == 3


def test_a_question_from_before_the_fields_is_the_same() -> None:
    trial = Trial(layout=LAYOUTS["px16"], protocol=Protocol())
    old = {n: v for n, v in trial.question.items() if n not in ("manifest", "normalise")}
    assert trial_from(old) == trial
    assert (SINCE["manifest"], SINCE["normalise"]) == ("none", "dataset")
    assert not {"manifest", "normalise"} & set(json.loads(trial.canonical()))


def test_the_folder_must_be_the_one_that_was_planned(root: Path, cache: Path) -> None:
    store = Store(root=root, cache=cache)
    assert prepare(folder_protocol(), store).text == TEXT
    write(root, {"val/dog/f.png": b"later"})
    os.utime(root / "val/dog", ns=(7, 7))
    with pytest.raises(DataError) as caught:
        prepare(folder_protocol(), store)
    now = read(root, cache).text
    changed = f"the images of `data.root` ({root}) are not those of these trials: "
    again = "bring the old ones back or train again"
    assert str(caught.value) == (
        f"{changed}3 in val/, were 2 (`manifest` {now}, was {TEXT}); {again}"
    )
    other = folder_protocol(f"{now.rpartition('-')[0]}-{0:020}")
    with pytest.raises(DataError, match=r"these trials: other names or sizes \(`manifest` "):
        prepare(other, store)


# Requests ---------------------------------------------------------------------------------


def ask(*arguments: str) -> Request:
    return read_request("sweep", "Train.", arguments, "squeezenet")


def test_a_request_gets_the_manifest_of_its_folder(tmp_path: Path, cache: Path) -> None:
    root = folder(tmp_path / "root", train=10)
    place = (f"data.root={root}", f"data.cache={cache}", "validation_share=0.5")
    (trial,) = ask("protocol=imagenet", *place).trials
    manifest = image_folder.read(root, cache).text
    assert trial.protocol.manifest == manifest
    assert trial.architecture.num_classes == 2
    either = ("data=digits,image_folder", "layout=px64", "image_size=64", "train_share=1")
    mixed = ask(*either, *place).trials
    assert [trial.protocol.manifest for trial in mixed] == ["none", manifest]
    small = (*either[:1], *either[3:], *place)
    assert ask(*small).remarks == (
        "`data=image_folder` keeps the page's recipe, and its images are resized to 12x12 pixels; "
        "give another size, such as image_size=64 layout=px64",
    )
    assert not ask(*small, "image_size=24").remarks
    assert not ask("protocol=imagenet", *place).remarks


def test_a_request_that_gives_the_manifest_needs_no_folder() -> None:
    manifest = f"2-2000-3-{0:020}"
    (trial,) = ask("protocol=imagenet", f"manifest={manifest}").trials
    assert trial.protocol.manifest == manifest


def test_a_folder_too_small_to_hold_out_images_is_refused(root: Path, cache: Path) -> None:
    with pytest.raises(RequestError) as caught:
        ask("protocol=imagenet", f"data.root={root}", f"data.cache={cache}")
    assert caught.value.lines == (
        "`validation_share` must hold out at least 10 of 3 images of 2 classes, so that a "
        "guess cannot pass for learning, got 0.02, which is 1",
    )


def test_a_request_without_its_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError) as caught:
        ask("protocol=imagenet", f"data.root={tmp_path}", f"data.cache={tmp_path}")
    assert caught.value.lines == (
        f"{RULE}, got 2 problems:",
        f"  {tmp_path}: it has no train/",
        f"  {tmp_path}: it has no val/",
    )
    with pytest.raises(RequestError) as caught:  # not read where the rest is wrong
        ask("protocol=imagenet", f"data.root={tmp_path}", "sr=2")
    assert caught.value.lines == ("`sr` must be in (0, 1], got 2",)


@pytest.mark.parametrize(
    ("protocol", "macs"), [("imagenet", 861_339_936), ("imagenet_torchvision", 818_924_576)]
)
def test_a_thousand_classes_make_squeezenet(protocol: str, macs: int) -> None:
    """The sizes are those of SqueezeNet v1.0 (arXiv:1602.07360, Table 1)."""
    (trial,) = ask(f"protocol={protocol}", f"manifest=1000-9000-9000-{0:020}").trials
    sizes = cost(trial.architecture, trial.protocol.image_size)
    assert (sizes.params, sizes.macs) == (1_248_424, macs)


def test_a_thousand_classes_need_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from dse.sweep.request import read_request; "
        "(trial,) = read_request('sweep', 'Train.', sys.argv[1:], 'squeezenet').trials; "
        "print(trial.architecture.num_classes, trial.protocol.manifest[:15]); "
        "print([m for m in ('torch', 'torchvision', 'PIL') if m in sys.modules])"
    )
    parts, names = ("train", "val"), [f"n{n:08d}" for n in range(1000)]
    write(tmp_path / "root", {f"{part}/{n}/a.JPEG": b"1" for part in parts for n in names})
    place = [f"data.root={tmp_path / 'root'}", f"data.cache={tmp_path / 'cache'}"]
    done = subprocess.run(
        [sys.executable, "-c", code, "protocol=imagenet", "validation_share=0.5", *place],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["1000 1000-1000-1000-", "[]"]


@pytest.mark.skipif("SQUEEZENET_DSE_DATA" not in os.environ, reason="no ImageNet here")
def test_ten_classes_of_imagenet(cache: Path) -> None:
    manifest = read(Path(os.environ["SQUEEZENET_DSE_DATA"]) / "imagenet10", cache)
    assert manifest.text.startswith("10-1500-250-")
    assert manifest.classes[0] == "n01440764"
    assert manifest.train == (150,) * 10
