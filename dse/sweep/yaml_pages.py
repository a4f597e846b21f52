"""The file of a page -> its values, for Hydra to compose, and back: text stays as it was written.

YAML 1.1 reads 010 as 8, 1_23 as 123, 1:30 as 90 and no as false before anyone knows what a key
holds. Here the key decides.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf import OmegaConf

from dse.space.rules import is_number, printable
from dse.sweep.keys import GROUPS, RULES, SETTINGS, TEXT

BOOL, FLOAT, INT, STR, TIMESTAMP = (
    f"tag:yaml.org,2002:{kind}" for kind in ("bool", "float", "int", "str", "timestamp")
)


def read(path: Path) -> str:
    """The text of a page; raises `OSError`, and `ValueError` where it is not in UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path}: it must be text in UTF-8") from None


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


def configuration(
    options: Any, choices: Sequence[Mapping[str, str]], grids: Sequence[Mapping[str, Sequence[Any]]]
) -> str:
    """Each grid as a page that sets every key of the question, with `---` between two pages.

    `options` are those of the command line, `choices` the pages of the groups of each grid. Each
    page begins with the command that asks for it.
    """
    start = ["python", "-m", "dse.sweep", *(["-cd", own] if (own := options.config_dir) else [])]
    start += ["-cn", options.config_name]
    others = [text for text in options.overrides if text.partition("=")[0] not in GROUPS]
    parts = []
    for choice, grid in zip(choices, grids, strict=True):
        command = printable(shlex.join([*start, *map("=".join, choice.items()), *others]))
        named = grid["name"] != [options.config_name]
        keys = [key for key in (*RULES, *SETTINGS) if key in grid and (named or key != "name")]
        parts.append("\n".join([f"# {command}", *(_line(key, grid[key]) for key in keys)]))
    return "\n---\n".join(parts)


def _line(key: str, some: Sequence[Any]) -> str:
    """A key with its value, or with its list of values.

    >>> [_line("sr", [0.5]), _line("sr", [0.5, 1.0]), _line("name", ["010"])]
    ['sr: 0.5', 'sr: [0.5, 1.0]', "name: '010'"]
    """
    page, style = ({key: some[0]}, False) if len(some) == 1 else ({key: [*some]}, None)
    line: str = yaml.safe_dump(page, default_flow_style=style, width=math.inf)
    return line.rstrip()


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
