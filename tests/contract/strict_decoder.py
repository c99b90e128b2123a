# SPDX-License-Identifier: Apache-2.0
"""Reads what the daemon emits as strictly as PROTOCOL.md ("Frames") says. Raises ValueError."""

from eventbus.v1 import eventbus_pb2 as pb


def _varint(data, pos):
    value = shift = 0
    while True:
        if pos >= len(data) or shift > 63:
            raise ValueError("a number is cut short or too long")
        value |= (data[pos] & 0x7F) << shift
        shift += 7
        pos += 1
        if data[pos - 1] < 0x80:
            return value, pos


def _check(kind, data, path):
    seen, keys, oneofs, pos = set(), set(), set(), 0
    while pos < len(data):
        tag, pos = _varint(data, pos)
        field = kind.fields_by_number.get(tag >> 3)
        if field is None:
            raise ValueError(f"{path}: unknown field {tag >> 3}")
        where = f"{path}.{field.name}"
        if field.label != field.LABEL_REPEATED:
            if field.number in seen or (field.containing_oneof and field.containing_oneof.name in oneofs):
                raise ValueError(f"{where}: twice")
            seen.add(field.number)
            if field.containing_oneof:
                oneofs.add(field.containing_oneof.name)
        by_length = field.type in (field.TYPE_STRING, field.TYPE_BYTES, field.TYPE_MESSAGE)
        if tag & 7 != (2 if by_length else 0):
            raise ValueError(f"{where}: wrong wire type")
        value, pos = _varint(data, pos)
        if not by_length:
            if field.type == field.TYPE_ENUM and value not in field.enum_type.values_by_number:
                raise ValueError(f"{where}: unknown value {value}")
            continue
        part, pos = data[pos : pos + value], pos + value
        if pos > len(data):
            raise ValueError(f"{where}: cut short")
        if field.type == field.TYPE_STRING and "\0" in part.decode("utf-8"):
            raise ValueError(f"{where}: NUL")
        if field.type == field.TYPE_MESSAGE:
            _check(field.message_type, part, where)
            if field.message_type.GetOptions().map_entry:
                key = field.message_type._concrete_class.FromString(part).key
                if key in keys:
                    raise ValueError(f"{where}: key {key} twice")
                keys.add(key)


def read_frame(body):
    """The Frame, or ValueError."""
    _check(pb.Frame.DESCRIPTOR, body, "frame")
    frame = pb.Frame.FromString(body)
    if not frame.WhichOneof("kind"):
        raise ValueError("frame: no kind")
    return frame
