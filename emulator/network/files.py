"""Read network files and presets; errors name file, field, value and what is legal."""

from __future__ import annotations

from pathlib import Path
from textwrap import shorten
from typing import Any, get_args

from emulator.errors import UsageError, read_text
from emulator.network.model import Network

_PRESETS = Path(__file__).parent / "presets"


def presets() -> list[str]:
    """List the presets from the lowest latency to the highest."""
    networks = [load(path.stem) for path in _PRESETS.glob("*.toml")]
    return [network.name for network in sorted(networks, key=lambda n: (n.smallest_latency(), n.name))]


def preset_path(name: str) -> Path:
    """The file of a preset; raises a `UsageError` if there is none of that name."""
    known = sorted(path.stem for path in _PRESETS.glob("*.toml"))
    if name not in known:
        import difflib  # as pydantic and tomllib below: every rank imports this module, and one reads a file

        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise UsageError(f"there is no network {name!r}: {hint}Legal: {', '.join(known)}, or a file such as my.toml")
    return _PRESETS / f"{name}.toml"


def is_file(name_or_path: str) -> bool:
    """Whether this is the path of a network file, not a preset's name."""
    return "/" in name_or_path or "." in name_or_path


def load(name_or_path: str) -> Network:
    """Load a preset by its name, or a network file by its path (anything with a slash or a dot in it).

    Raises
    ------
    UsageError
        No such preset or file, or an invalid field: the message names field, value and legal range.
    """
    own = is_file(name_or_path)
    path = Path(name_or_path) if own else preset_path(name_or_path)
    text = read_text(path, f"network file {name_or_path!r}")
    return parse(text, name_or_path if own else path.name, path.parent)


def parse(text: str, origin: str = "network", folder: Path | None = None) -> Network:
    """Read the text of a network file; `origin` is what errors call it."""
    import tomllib

    from pydantic import ValidationError

    from emulator.network.build import plan
    from emulator.network.schema import NetworkFile

    try:
        made = plan(NetworkFile.model_validate(tomllib.loads(text)), Path(origin).stem, folder)
        return Network(made)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{origin}: not TOML: {error}") from None
    except ValidationError as error:
        raise UsageError(f"{origin}: {first_error(error.errors())}") from None
    except UsageError as error:
        raise UsageError(f"{origin}: {error}") from None


def section(name: str, alpha: float, beta: float) -> str:
    """The text of a section with a latency of `alpha` seconds and `beta` seconds per byte, 0 for no limit."""
    bandwidth = f'bandwidth = "{8 / beta!r} bit/s"\n' if beta else ""
    return f'[{name}]\nlatency = "{alpha!r} s"\n{bandwidth}'


_RULES = {
    "missing": "{field} is missing: give it",
    "string_type": "{field} must be a text in quotes, got {input!r}",
    "tuple_type": "{field} must be a list such as ['a', 'b'], got {input!r}",
    "union_tag_not_found": "{field}.{discriminator} is missing: say which",
    "union_tag_invalid": "{field}.{discriminator} must be one of {expected_tags}, got {tag!r}",
    "too_short": "{field} must have at least {min_length} entry, got {input!r}",
    "model_type": "{field} must be a table, got {input!r}",
    "model_attributes_type": "{field} must be a table, got {input!r}",
}


def _tags() -> set[str]:
    """The names of the kinds of topologies and distributions."""
    from emulator.network.schema import JitterSection
    from emulator.network.topology_sections import TopologySection

    kinds = [kind for union in (TopologySection, JitterSection) for kind in get_args(get_args(union)[0])]
    fields = [kind.model_fields.get("kind") or kind.model_fields["distribution"] for kind in kinds]
    return {get_args(field.annotation)[0] for field in fields}


def first_error(errors: list[Any]) -> str:
    """Describe the first of pydantic's errors by field, rule and value."""
    error = errors[0]
    # Positions in a union carry the chosen alternative in their path: it is no field of the file.
    tags = _tags()
    parts: list[str] = []
    for position, part in enumerate(error["loc"]):
        if isinstance(part, int):
            parts[-1:] = [f"{parts[-1] if parts else ''}[{part}]"]
        elif not (position == 1 and part in tags):
            parts.append(str(part))
    field, context = ".".join(parts), error.get("ctx", {})
    if error["type"] == "value_error":
        message = str(context["error"])
        return f"{field}: {message}" if field else message
    if error["type"] == "tuple_type" and isinstance(error["input"], dict):
        return f"{field} is a list of tables, got one: write [[{field}]] in double brackets"
    if rule := _RULES.get(error["type"]):
        values = {"field": field, "input": error["input"], **context}
        values["discriminator"] = str(context.get("discriminator")).strip("'")
        return rule.format_map(values)
    message = error["msg"].removeprefix("Input ").replace("should be", "must be", 1)
    return f"{field} {message}, got {shorten(repr(error['input']), 80, placeholder=' ...')}"
