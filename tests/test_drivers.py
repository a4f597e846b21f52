"""What a running sweep publishes."""

from __future__ import annotations

from pathlib import Path

from dse.results import atomic, drivers


def test_a_status_is_published_while_its_sweep_runs(tmp_path: Path) -> None:
    with drivers.publishing(tmp_path) as publish:
        assert drivers.published(tmp_path) == []
        for number in (1, 2):
            publish({"done": number})
            ((status, runs),) = drivers.published(tmp_path)
            assert (status["done"], runs) == (number, True)
        atomic.tidy(tmp_path)
        assert drivers.published(tmp_path) == [(status, True)]
    assert drivers.published(tmp_path) == []
    (tmp_path / "trials" / f".running.{'a' * 16}").write_text('{"done": 3}')
    assert drivers.published(tmp_path) == [({"done": 3}, False)]
    for content in (b"", b"[]", b"\xff", b"[" * 100_000):
        (tmp_path / "trials" / f".running.{'b' * 16}").write_bytes(content)
        assert drivers.published(tmp_path) == [({"done": 3}, False)]
    atomic.tidy(tmp_path)
    assert drivers.published(tmp_path) == []


def test_a_folder_that_is_renamed_keeps_no_status(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    (folder / "trials").mkdir(parents=True)
    with drivers.publishing(folder) as publish:
        publish({"done": 1})
        renamed = folder.rename(tmp_path / "renamed")
        assert [*(renamed / "trials").glob(".running.*")]
        publish({"done": 2})
    assert drivers.published(renamed) == drivers.published(folder) == []
