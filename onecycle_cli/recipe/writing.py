"""Writing values as people write them in a recipe."""

from decimal import Decimal


def as_written(value: object) -> str:
    """Writes a value as a person does in a recipe, numbers with all digits: 1e-4, 1, true, null, [0.1, 2], {a: 1}."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case float() if 0 < value < 0.01:
            return f"{Decimal(repr(value)):e}"
        case float():
            return repr(value).removesuffix(".0")
        case list() | tuple():
            return f"[{', '.join(map(as_written, value))}]"
        case dict():
            return f"{{{', '.join(f'{name}: {as_written(inner)}' for name, inner in value.items())}}}"
    return str(value)
