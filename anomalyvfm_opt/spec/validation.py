"""From a document to a spec, or to all that is wrong in it."""

from collections.abc import Mapping
from functools import cache
from operator import attrgetter
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from anomalyvfm_opt.spec.contradictions import Problem, find_contradictions
from anomalyvfm_opt.spec.mistakes import describe_mistakes
from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.spec.space import is_misplaced_boolean

_PARTS_OF_THE_NETWORK = ("data", "backbone", "search.space")


def validate(document: Mapping[str, Any]) -> tuple[Spec | None, list[Problem]]:
    """Return the spec, or None and its problems: structure and contradictions together.

    A contradiction is looked for wherever the fields that it needs are sound, whatever is wrong with others.
    """
    try:
        return Spec.model_validate(document), []
    except ValidationError as error:
        problems = describe_mistakes(error)
    return None, [*problems, *find_contradictions(lambda path: _read(document, path))]


def keep_sound_part(document: Mapping[str, Any]) -> Spec | None:
    """Form a spec of a document's data, backbone and space, with stand-ins for the rest; else None."""
    try:
        data, backbone, space = (_read(document, path) for path in _PARTS_OF_THE_NETWORK)
        return Spec.model_validate(
            {
                "name": "part",
                "data": data,
                "backbone": backbone,
                "references": (),
                "search": {"trials": 1, "space": space},
            }
        )
    except (LookupError, ValidationError):
        return None


def _read(document: Mapping[str, Any], path: str) -> Any:
    """Return the value of one field of a document, or its default.

    Raises:
        LookupError: it is missing or wrong.
    """
    model: Any = Spec
    node: Any = document
    names = path.split(".")
    for position, name in enumerate(names):
        field: FieldInfo = model.model_fields[name]
        if not isinstance(node, Mapping):
            raise LookupError(path)
        if name not in node:
            if field.is_required():
                raise LookupError(path)
            rest = ".".join(names[position + 1 :])
            return attrgetter(rest)(field.default) if rest else field.default
        node, model = node[name], field.annotation
    if is_misplaced_boolean(node, model):
        raise LookupError(path)
    try:
        return _adapter(path).validate_python(node)
    except ValidationError:
        raise LookupError(path) from None


@cache
def _adapter(path: str) -> TypeAdapter[Any]:
    """Return what validates one field by itself, with the field's own limits."""
    *sections, name = path.split(".")
    model: Any = Spec
    for section in sections:
        model = model.model_fields[section].annotation
    return TypeAdapter(model.model_fields[name].rebuild_annotation())
