"""The file of a page -> its values, for Hydra to compose: text stays as it was written.

YAML 1.1 reads 010 as 8, 1_23 as 123, 1:30 as 90 and no as false before anyone knows what a key
holds. Here the key decides.
"""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import Any

import yaml
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf import OmegaConf

from dse.space.rules import is_number
from dse.sweep.keys import TEXT

BOOL, FLOAT, INT, STR, TIMESTAMP = (
    f"tag:yaml.org,2002:{kind}" for kind in ("bool", "float", "int", "str", "timestamp")
)


def read(path: Path) -> str:
    """The text of a page, without its byte order mark.

    Raises `OSError`, and `ValueError` where it is not in UTF-8, or in UTF-16 with such a mark.
    """
    content = path.read_bytes()
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{path}, line {line}: it must be text in UTF-8") from None
    if "\0" in text:
        raise ValueError(f"{path}: it must be text in UTF-8")
    return text


def values(text: str, name: str) -> Any:
    """The values in the text of a page: a mapping, or whatever else it holds.

    `name` is for messages. Raises `yaml.YAMLError` where it is not YAML.
    """
    loader = yaml.SafeLoader(text)
    loader.name = name
    page = loader.get_single_node()
    if page is None:
        return {}
    _settle(page)
    return loader.construct_document(page)


def _settle(node: yaml.Node, key: str = "") -> None:
    """Give the unquoted values under a dotted key their types; raise for a repeated key."""
    if isinstance(node, yaml.MappingNode):
        names: set[str] = set()
        for name, value in node.value:
            if isinstance(name, yaml.ScalarNode) and name.value in names:
                problem = f"found duplicate key {name.value}"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=name.start_mark)
            names.add(str(name.value))
            _settle(value, f"{key}.{name.value}" if key else str(name.value))
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _settle(value, key)
    elif node.style is None:
        node.tag = _type(node.tag, node.value, key)


def _type(tag: str, written: str, key: str) -> str:
    """The type of an unquoted value, for which YAML has `tag`."""
    if key in TEXT or (key.startswith("defaults") and tag in (BOOL, FLOAT, INT)):
        return STR
    if tag not in (FLOAT, INT, STR, TIMESTAMP):
        return tag
    if not is_number(written):
        return STR  # which no number's rule accepts
    return INT if written.lstrip("+-").isdigit() else FLOAT


class Source(ConfigSource):
    """A folder of pages, for Hydra.

    The scheme begins with a slash because `initialize_config_dir` takes absolute paths only.
    """

    @staticmethod
    def scheme() -> str:
        """How a search path names such a folder: `/page://FOLDER`."""
        return "/page"

    def load_config(self, config_path: str) -> ConfigResult:
        """The page of a name such as `layout/px8`."""
        path = self._file(config_path)
        text = read(path)
        config, header = OmegaConf.create(values(text, str(path))), self._get_header_dict(text)
        return ConfigResult(self.provider, self.full_path(), config, header)

    def available(self) -> bool:
        """Whether the folder exists."""
        return self.is_group("")

    def is_group(self, config_path: str) -> bool:
        """Whether a name is that of a folder."""
        return Path(self.path, config_path).is_dir()

    def is_config(self, config_path: str) -> bool:
        """Whether a name is that of a page."""
        return self._file(config_path).is_file()

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """The names of the pages and folders in a folder, or of one kind of them."""
        found: list[str] = []
        for path in Path(self.path, config_path).iterdir():
            name = str(Path(config_path, path.name))
            self._list_add_result(found, name, path.name, results_filter)
        return sorted(set(found))

    def _file(self, config_path: str) -> Path:
        return Path(self.path, self._normalize_file_name(config_path))
