"""The YAML of recipes: safe, numbers as people write them, nothing that grows without end; lists on one line."""

import re

import yaml


class Loader(yaml.SafeLoader):
    """Safe YAML that takes `1e-4`, `1e4` and `1.0e4` for numbers, which YAML 1.1 leaves as text."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """An alias stands for one value: of lists, a few lines of aliases make billions of values, or a circle."""
        alias = self.peek_event()  # type: ignore[no-untyped-call]
        node = super().compose_node(parent, index)
        if isinstance(alias, yaml.AliasEvent) and not isinstance(node, yaml.ScalarNode):
            what = f"*{alias.anchor} stands for a list or a section, and only single values are repeated so"
            raise yaml.MarkedYAMLError(problem=what, problem_mark=alias.start_mark)  # type: ignore[arg-type]
        return node


class Dumper(yaml.SafeDumper):
    """Sections as blocks, lists on one line; what the loader takes for a number is quoted where it is text."""


for _yaml in (Loader, Dumper):
    _yaml.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
    )
Dumper.add_representer(
    list, lambda dumper, values: dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=True)
)


def _construct_whole(loader: Loader, node: yaml.ScalarNode) -> int:
    number: int = loader.construct_yaml_int(node)
    str(number)  # a ValueError where there are thousands of digits; Python has it of decimal ones, YAML knows others
    return number


Loader.add_constructor("tag:yaml.org,2002:int", _construct_whole)


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    # Unicode's other line breaks survive in double quotes alone, where they are escaped.
    style = '"' if any(mark in text for mark in "\x85\u2028\u2029") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


Dumper.add_representer(str, _represent_text)


UNREADABLE = (yaml.YAMLError, ValueError, RecursionError)
"""What is raised of text that is no YAML, of a date or a number that only looks like one, such as 2024-13-45, and of
thousands of brackets in one another."""
