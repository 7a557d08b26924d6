"""The reference of the network file, made from the models that check it, so that the two cannot differ."""

from __future__ import annotations

from typing import Any, get_args

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from emulator.network import schema, topology_sections
from emulator.network.fields import Section
from emulator.units import parse_time


def _alternatives(union: Any) -> list[type[Section]]:
    """List the models of a tagged union (``Annotated[A | B, Field(...)]``)."""
    return list(get_args(get_args(union)[0]))


# Heading in the file, and the models that may stand under it.
_SECTIONS: list[tuple[str, list[type[Section]]]] = [
    ("top level", [schema.NetworkFile]),
    ("[link]", [schema.LinkSection]),
    ("[nic]", [schema.NicSection]),
    ("[loopback]", [schema.LoopbackSection]),
    ("[hosts]", [schema.HostsSection]),
    ("[[host]]", [schema.HostSection]),
    ("[topology]", _alternatives(topology_sections.TopologySection)),
    ("topology.links", [topology_sections.EdgeSection]),
    ("[jitter]", _alternatives(schema.JitterSection)),
    ("[loss]", [schema.LossSection]),
    ("[[link.segment]]", [schema.SegmentSection]),
    ("[slow_start]", [schema.SlowStartSection]),
    ("[protocol]", [schema.ProtocolSection]),
]
_DEFAULTS = {5e-7: '"0.5 us"', 1e-10: '"10 GB/s"', 0.2: '"200 ms"', 0.0: "0"}


def reference() -> str:
    """Write the tables of all sections as Markdown."""
    lines = []
    for heading, models in _SECTIONS:
        for model in models:
            choice = next((n for n in ("kind", "distribution") if n in model.model_fields), None)
            value = model.model_fields[choice].annotation.__args__[0] if choice else None  # type: ignore[union-attr]
            suffix = f' with {choice} = "{value}"' if choice else ""
            lines += [
                f"### {heading}{suffix}",
                "",
                str(model.__doc__),
                "",
                "| field | default | meaning |",
                "|---|---|---|",
            ]
            for name, field in sorted(model.model_fields.items(), key=lambda item: item[0] == "on"):
                if name != choice:
                    lines.append(f"| `{name}` | {_default(field)} | {field.description} |")
            if lines[-1] == "|---|---|---|":
                lines[-3:] = []
            lines.append("")
    return "\n".join(lines)


def _default(field: FieldInfo) -> str:
    default = field.default
    if default is PydanticUndefined:
        return "required"
    if default is None or default == "" or default == () or isinstance(default, Section):
        return "-"
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, str):
        return f'"{default}"'
    if default not in _DEFAULTS and any(getattr(each, "func", None) is parse_time for each in field.metadata):
        return f'"{default:g} s"'
    return _DEFAULTS.get(default, f"{default:g}")


if __name__ == "__main__":
    print(reference())
