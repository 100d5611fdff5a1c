"""The fields of a good body, each with what its type says it may be; and bodies in which one place is another."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from msgspec import inspect

from loyalty.base.forms import token

Way = tuple[str | int, ...]

_WRITTEN: dict[type, tuple[type[inspect.Type], ...]] = {
    bool: (inspect.BoolType,),
    int: (inspect.IntType,),
    str: (inspect.StrType,),
}


class Field(NamedTuple):
    """One value of a good body, the body itself first."""

    way: Way
    kind: Any  # without null; of several forms the one that the value has
    value: Any
    form: Any = None  # name of what is finer than its pattern
    nullable: bool = False
    sole: bool = True  # a value of another kind would not do
    item: int = 0  # steps of the way to the item of a batch that it stands in

    @property
    def pointer(self) -> str:
        """Where it is told to be: of an item, within the item."""
        return pointer(self.way[self.item :])


def pointer(way: Way) -> str:
    return "".join(f"/{token(str(step))}" for step in way)


def fields(shape: Any, value: Any) -> Iterator[Field]:
    """Every value of a body of this shape, from the outside in."""
    yield from _fields(inspect.type_info(shape), Field((), None, value))


def _fields(kind: inspect.Type, field: Field) -> Iterator[Field]:
    value = field.value
    match kind:
        case inspect.Metadata():
            extra: dict[str, Any] = getattr(kind, "extra", None) or {}
            if "shape" in extra:
                yield from _fields(inspect.type_info(extra["shape"]), field._replace(item=len(field.way)))
            else:
                yield from _fields(kind.type, field._replace(form=extra.get("form", field.form)))
            return
        case inspect.UnionType():
            choices = [one for one in kind.types if not isinstance(one, inspect.NoneType)]
            field = field._replace(nullable=len(choices) < len(kind.types))
            if len(choices) > 1 and not isinstance(choices[0], inspect.StructType):
                choices = [one for one in choices if isinstance(_bare(one), _WRITTEN[type(value)])]
                field = field._replace(sole=False)
            elif len(choices) > 1:
                choices = [
                    one
                    for one in choices
                    if isinstance(one, inspect.StructType) and one.tag == value[one.tag_field]
                ]
            yield from _fields(choices[0], field)
            return
        case _:
            yield field._replace(kind=kind, form=getattr(field.form, "__name__", None))
    inner = Field(field.way, None, None, item=field.item)
    match kind:
        case inspect.StructType():
            for one in kind.fields:
                if one.encode_name in value:
                    way = (*field.way, one.encode_name)
                    yield from _fields(one.type, inner._replace(way=way, value=value[one.encode_name]))
        case inspect.VarTupleType() | inspect.ListType():
            for index, one in enumerate(value):
                yield from _fields(kind.item_type, inner._replace(way=(*field.way, index), value=one))
        case inspect.DictType():
            for key, one in value.items():
                yield from _fields(kind.value_type, inner._replace(way=(*field.way, key), value=one))
        case _:
            pass


def _bare(kind: inspect.Type) -> inspect.Type:
    return kind.type if isinstance(kind, inspect.Metadata) else kind


def written(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def placed(value: Any, way: Way, text: bytes | None) -> bytes:
    """`value` as JSON with this text in one place, where an object may have had no such key; None: the key is gone."""
    if not way:
        assert text is not None
        return text
    first, rest = way[0], way[1:]
    if isinstance(value, dict):
        members = [
            written(key) + b":" + (placed(one, rest, text) if key == first else written(one))
            for key, one in value.items()
            if key != first or rest or text is not None
        ]
        if first not in value and text is not None:
            members.append(written(first) + b":" + text)
        return b"{%s}" % b",".join(members)
    return b"[%s]" % b",".join(
        placed(one, rest, text) if index == first else written(one) for index, one in enumerate(value)
    )
