"""GraphQL names for DTDL models: what a type, a list and an enum are called, and what happens when a name is taken.

A model's type has the last segment of its DTMI (`dtmi:com:twinloom:cnc:Spindle;1` -> `Spindle`). When several models
share it, the highest version has it and the others carry their version (`Spindle_v1`); a name of the generic layer
(`Alert`, `Model`, ...) gets the suffix `Twin`. Contents keep their DTDL names; one that the generic twin has already
(`value`, `alerts`, ...) gets an underscore behind it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from twinloom.twin.ids import ModelId, label_of


def type_names(models: Iterable[ModelId], reserved: Collection[str]) -> dict[ModelId, str]:
    """A type name for every model, each its own.

    >>> type_names([ModelId("dtmi:a:Pump;1"), ModelId("dtmi:a:Pump;2"), ModelId("dtmi:a:Alert;1")], {"Alert"})
    {'dtmi:a:Pump;2': 'Pump', 'dtmi:a:Pump;1': 'Pump_v1', 'dtmi:a:Alert;1': 'AlertTwin'}
    """
    names: dict[ModelId, str] = {}
    taken = set(reserved)
    for model in sorted(models, key=lambda id: (-_version(id)[0], -_version(id)[1], id)):
        label = label_of(model)
        label = label[:1].upper() + label[1:]
        choices = [label, f"{label}Twin"] if label in reserved else [label]
        version = model.partition(";")[2].replace(".", "_")
        choices += [f"{label}_v{version}" if version else f"{label}_unversioned"]
        choices += [model.partition(";")[0].replace(":", "_") + (f"_v{version}" if version else "")]
        number = 2
        name = next((choice for choice in choices if choice not in taken), "")
        while not name:
            candidate = f"{label}_{number}"
            name = candidate if candidate not in taken else ""
            number += 1
        taken.add(name)
        names[model] = name
    return names


def _version(model: ModelId) -> tuple[int, int]:
    major, _, minor = model.partition(";")[2].partition(".")
    return (int(major or 0), int(minor or 0))


def plural(name: str) -> str:
    """The field name of a list of that type.

    >>> plural("Spindle"), plural("Axis"), plural("Battery"), plural("Box")
    ('spindles', 'axes', 'batteries', 'boxes')
    """
    word = singular(name)
    if word.endswith("is"):
        return word[:-2] + "es"
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return word + "es"
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return word[:-1] + "ies"
    return word + "s"


def singular(name: str) -> str:
    """The field name of one of that type."""
    return name[:1].lower() + name[1:]


def pascal(path: str) -> str:
    """`operating_mode` -> `OperatingMode`, for the names of enum types."""
    return "".join(part[:1].upper() + part[1:] for part in path.replace(".", "_").split("_") if part)


def free(name: str, taken: Collection[str]) -> str:
    """`name`, with underscores behind it until it is free."""
    while name in taken:
        name += "_"
    return name
