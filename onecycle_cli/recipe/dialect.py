"""The YAML of recipes: a safe loader that reads numbers as people write them, and a dumper with lists on one line."""

import re

import yaml


class Loader(yaml.SafeLoader):
    """A safe YAML loader that reads `1e-4`, `1e4` and `1.0e4` as numbers, which are text in YAML 1.1."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Composes a node; `yaml.MarkedYAMLError` if an alias repeats anything but a single value.

        A few lines of aliases of lists can make billions of values, or a list that contains itself.
        """
        alias = self.peek_event()  # type: ignore[no-untyped-call]
        node = super().compose_node(parent, index)
        if isinstance(alias, yaml.AliasEvent) and not isinstance(node, yaml.ScalarNode):
            what = f"*{alias.anchor} repeats a list or a section, but an alias can only repeat a single value"
            raise yaml.MarkedYAMLError(problem=what, problem_mark=alias.start_mark)  # type: ignore[arg-type]
        return node


class Dumper(yaml.SafeDumper):
    """A safe YAML dumper: sections as blocks, lists on one line, text that looks like a number in quotes."""


for _yaml in (Loader, Dumper):
    _yaml.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
    )
Dumper.add_representer(
    list, lambda dumper, values: dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=True)
)


def _construct_whole(loader: Loader, node: yaml.ScalarNode) -> int:
    number: int = loader.construct_yaml_int(node)
    str(
        number
    )  # ValueError for thousands of digits: int() raises it only for decimal ones, YAML also has hex and octal
    return number


Loader.add_constructor("tag:yaml.org,2002:int", _construct_whole)


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    # Unicode's other line breaks survive only in double quotes, where they are escaped.
    style = '"' if any(mark in text for mark in "\x85\u2028\u2029") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


Dumper.add_representer(str, _represent_text)


UNREADABLE = (yaml.YAMLError, ValueError, RecursionError)
"""The exceptions of unreadable YAML: wrong syntax, an invalid date or number such as 2024-13-45, and thousands of
nested brackets."""
