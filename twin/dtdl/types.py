"""`@type`: the class of an element, its adjunct types, and whether it has a type that nobody defined."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from twinloom.twin.dtdl.contexts import Context
from twinloom.twin.dtdl.metamodel import Adjunct, Prop
from twinloom.twin.dtdl.nodes import kind_of_name
from twinloom.twin.instance import Json


class Types:
    """Reads `raw` where `prop` (None: the top of a document) allows elements.

    `report(code, step, message, remedy)` takes what is wrong. `class_` is None when the element cannot be read on.
    """

    def __init__(
        self, raw: Mapping[str, Json], prop: Prop | None, context: Context, report: Callable[[str, str, str, str], None]
    ) -> None:
        self.class_: str | None = None
        self.adjuncts: list[Adjunct] = []
        self.names: list[str] = []
        self.informal = False
        self._context, self._add = context, report
        expected = "Interface" if prop is None else " or ".join(sorted(prop.range))
        if "@type" not in raw:
            if prop is not None and prop.inferred:
                self.class_ = self._inferred(prop)
            elif raw.keys() == {"@id"}:
                self._report("idReference", "the object has an @id only", "write the id itself as a string", "")
            else:
                code = "typeNotRootable" if prop is None else "badType"
                self._report(code, f"the element has no @type; {expected} may stand here", "add one", "")
            return
        value = raw["@type"]
        values = value if isinstance(value, list) else [value]
        materials: set[str] = set()
        for item in values:
            if not isinstance(item, str):
                self._report("typeNotString", "a type is no string", "write a string or an array of strings")
                return
            self._type(item, materials)
        if len(materials) > 1:
            self._report("multipleMaterialTypes", f"the element is {' and '.join(sorted(materials))}", "keep one")
            return
        if not materials:
            code = "typeNotRootable" if prop is None else "badType"
            self._report(code, f"the @type names no class; {expected} may stand here", "add the class")
            return
        (self.class_,) = materials
        if prop is None and self.class_ != "Interface":
            message = f"a {self.class_} may not stand at the top of a document"
            self._report("typeNotRootable", message, "put it into an Interface")
        elif prop is not None and self.class_ not in prop.range:
            self._report("badType", f"a {self.class_} may not stand here", f"write {expected}")
        self._fit()

    def _inferred(self, prop: Prop) -> str:
        """The class of an untyped value: that of the range in the element's own version."""
        name = prop.inferred
        if self._context.version == 2 and name in ("CommandRequest", "CommandResponse"):
            return "CommandPayload"
        return name

    def _report(self, code: str, message: str, remedy: str, step: str = "/@type") -> None:
        self._add(code, step, message, remedy)

    def _type(self, text: str, materials: set[str]) -> None:
        vocabulary = self._context.vocabulary
        dtmi = vocabulary.terms.get(text, text)
        if dtmi in vocabulary.classes:
            materials.add(vocabulary.classes[dtmi])
            return
        adjunct = vocabulary.adjuncts.get(dtmi)
        if adjunct is not None:
            if adjunct not in self.adjuncts:
                self.adjuncts.append(adjunct)
                self.names.append(adjunct.name)
            return
        if dtmi in vocabulary.abstract_types:
            self._report("abstractSupplementalType", f"{text} is abstract", "name one of its kinds")
            return
        code = kind_of_name(text, self._context, "type")
        free = ("typeUndefinedTerm", "typeNotDtmiNorTerm") if self._context.version == 2 else ()
        tenable = ("typeUndefinedTerm", "typeIrrelevantDtmiOrTerm") if self._context.incomplete else ()
        if code in free or code in tenable:
            self.informal = True
            self.names.append(text)
        else:
            self._report(code, f"{text[:80]!r} is no type here", "correct its spelling, or add its context")

    def _fit(self) -> None:
        semantic = [adjunct.name for adjunct in self.adjuncts if adjunct.semantic]
        if len(semantic) > 1:
            message = f"the element is {' and '.join(semantic)}"
            self._report("conflictingSupplementalTypes", message, "keep one semantic type")
        names = {adjunct.name for adjunct in self.adjuncts}
        for adjunct in self.adjuncts:
            if self.class_ not in adjunct.on:
                message = f"{adjunct.name} does not go with {self.class_}"
                self._report("invalidCotype", message, f"use it on {' or '.join(sorted(adjunct.on))}")
            if self._context.version not in adjunct.versions:
                wanted = " or ".join(f"v{version}" for version in sorted(adjunct.versions))
                message = f"{adjunct.name} needs DTDL {wanted}, and this is v{self._context.version}"
                self._report("invalidCotypeVersion", message, "change the version of DTDL or of the extension")
            if adjunct.with_ and adjunct.with_ not in names:
                self._report("missingCocotype", f"{adjunct.name} needs {adjunct.with_}, too", f"add {adjunct.with_}")
