"""The texts of the contract: named and commented throughout, only growing, and the same as the committed stubs."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

import paycore.v1
from paycore.v1 import (
    anomaly_pb2,
    cashier_pb2,
    channel_pb2,
    common_pb2,
    money_pb2,
    notice_pb2,
    order_pb2,
    payment_pb2,
    reason_pb2,
    refund_pb2,
    rules_pb2,
)
from tools.protos import BASELINE, IMAGE, breaking, lint, without_comments

Named = tuple[tuple[int, ...], str]

HOUSE = Path(__file__).parents[2]
MODULES = [
    anomaly_pb2,
    cashier_pb2,
    channel_pb2,
    common_pb2,
    money_pb2,
    notice_pb2,
    order_pb2,
    payment_pb2,
    reason_pb2,
    refund_pb2,
    rules_pb2,
]


def image() -> descriptor_pb2.FileDescriptorSet:
    return descriptor_pb2.FileDescriptorSet.FromString(IMAGE.read_bytes())


def own_files(files: descriptor_pb2.FileDescriptorSet) -> list[descriptor_pb2.FileDescriptorProto]:
    return [file for file in files.file if file.package == "paycore.v1"]


def store(files: descriptor_pb2.FileDescriptorSet, path: Path) -> Path:
    path.write_bytes(files.SerializeToString())
    return path


# ---------------------------------------------------------------------------------------------- fresh


def test_the_stubs_name_the_texts_they_were_made_from() -> None:
    digest = hashlib.sha256()
    for path in sorted((HOUSE / "protos").rglob("*.proto")):
        digest.update(f"{path.relative_to(HOUSE / 'protos').as_posix()}\0".encode() + path.read_bytes() + b"\0")
    assert digest.hexdigest() == paycore.v1.PROTOS_SHA256, "run `make gen`"


def test_the_stubs_are_those_of_the_image() -> None:
    of_image = {file.name: file for file in own_files(image())}
    assert {module.DESCRIPTOR.name for module in MODULES} == set(of_image)
    for module in MODULES:
        of_stub = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(of_stub)
        in_image = of_image[of_stub.name]
        in_image.ClearField("source_code_info")
        for field in [*of_stub.message_type, *in_image.message_type]:
            drop_json_names(field)
        for extension in [*of_stub.extension, *in_image.extension]:
            extension.ClearField("json_name")
        assert of_stub == in_image


def drop_json_names(message: descriptor_pb2.DescriptorProto) -> None:
    """protoc writes the default JSON names into an image and leaves them out of stubs."""
    for field in message.field:
        field.ClearField("json_name")
    for nested in message.nested_type:
        drop_json_names(nested)


def test_generating_anew_changes_nothing() -> None:
    made = subprocess.run(
        [sys.executable, HOUSE / "tools/setup.py", "codegen"], capture_output=True, text=True, check=False
    )
    if made.returncode != 0:
        pytest.skip(f"the generator's environment cannot be made here: {made.stderr.strip()[-300:]}")
    generator = HOUSE / ".venvs/codegen/bin/python"
    run = subprocess.run([generator, HOUSE / "tools/gen.py", "--check"], capture_output=True, text=True, check=False)
    stale = [line for line in run.stderr.splitlines() if line.startswith("stale:")]
    assert (run.returncode, stale) == (0, [])


# ---------------------------------------------------------------------------------------------- style and promises


def test_buf_finds_nothing_to_mend(capfd: pytest.CaptureFixture[str]) -> None:
    assert (lint(IMAGE), capfd.readouterr().out) == (0, "")


def test_buf_sees_a_missing_comment(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    files = image()
    (order,) = (file for file in own_files(files) if file.name.endswith("order.proto"))
    next(where for where in order.source_code_info.location if where.path == [4, 0]).ClearField("leading_comments")
    assert lint(store(files, tmp_path / "bad.binpb")) != 0
    assert "comment" in capfd.readouterr().out


def test_the_contract_only_grew(capfd: pytest.CaptureFixture[str]) -> None:
    assert (breaking(IMAGE, BASELINE), capfd.readouterr().out) == (0, "")


def test_buf_sees_a_broken_promise(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    files = descriptor_pb2.FileDescriptorSet.FromString(without_comments(IMAGE.read_bytes()))
    (money,) = (file for file in own_files(files) if file.name.endswith("money.proto"))
    money.message_type[0].field[1].number = 9
    assert breaking(store(files, tmp_path / "bad.binpb"), BASELINE) != 0
    assert "money.proto" in capfd.readouterr().out


# ---------------------------------------------------------------------------------------------- comments


def elements(message: descriptor_pb2.DescriptorProto, path: tuple[int, ...]) -> list[Named]:
    """A message and everything inside it: the path in the source info with a name."""
    if message.options.map_entry:
        return []
    found = [(path, message.name)]
    found += [((*path, 2, at), f"{message.name}.{field.name}") for at, field in enumerate(message.field)]
    found += [
        ((*path, 8, at), f"{message.name}.{oneof.name}")
        for at, oneof in enumerate(message.oneof_decl)
        if not oneof.name.startswith("_")
    ]
    for at, nested in enumerate(message.nested_type):
        found += elements(nested, (*path, 3, at))
    for at, enum in enumerate(message.enum_type):
        found += enum_elements(enum, (*path, 4, at))
    return found


def enum_elements(enum: descriptor_pb2.EnumDescriptorProto, path: tuple[int, ...]) -> list[Named]:
    values = [((*path, 2, at), f"{enum.name}.{value.name}") for at, value in enumerate(enum.value)]
    return [(path, enum.name), *values]


def file_elements(file: descriptor_pb2.FileDescriptorProto) -> list[Named]:
    found: list[Named] = [((12,), f"{file.name} itself")]
    for at, message in enumerate(file.message_type):
        found += elements(message, (4, at))
    for at, enum in enumerate(file.enum_type):
        found += enum_elements(enum, (5, at))
    for at, service in enumerate(file.service):
        found.append(((6, at), service.name))
        found += [((6, at, 2, nth), f"{service.name}.{method.name}") for nth, method in enumerate(service.method)]
    found += [((7, at), extension.name) for at, extension in enumerate(file.extension)]
    return found


@pytest.mark.parametrize("file", own_files(image()), ids=lambda file: file.name)
def test_every_element_says_what_it_means(file: descriptor_pb2.FileDescriptorProto) -> None:
    comments = {tuple(where.path): where.leading_comments.strip() for where in file.source_code_info.location}
    silent = [name for path, name in file_elements(file) if not comments.get(path, "").endswith(".")]
    assert silent == []
    assert len(file_elements(file)) > 2
