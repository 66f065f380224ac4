"""Write src/paycore/v1 and protos/api.binpb anew from protos/. Runs in .venvs/codegen (see tools/setup.py codegen).

    tools/gen.py            write them
    tools/gen.py --check    write nothing; exit 1 and name the files that are not what would be written

buf/validate/validate.proto is vendored nowhere: its descriptor comes out of the protovalidate wheel, for protoc as well
as for the stubs, which carry it (packed) so that they load where protovalidate is not installed.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import os
import re
import sys
import tempfile
import zlib
from importlib import resources
from pathlib import Path

from google.protobuf import descriptor_pb2, duration_pb2, field_mask_pb2, timestamp_pb2
from grpc_tools import protoc

HOUSE = Path(__file__).resolve().parent.parent
PROTOS = HOUSE / "protos"
STUBS = "src/paycore/v1"
IMAGE = "protos/api.binpb"

SHIM = '''"""The descriptor of buf/validate/validate.proto, which the rules in our protos refer to. Made by tools/gen.py.

It joins the default pool once, unless somebody else's copy is there already; protovalidate itself needs neither.
"""

import base64
import zlib

from google.protobuf import (
    descriptor_pb2,  # noqa: F401
    descriptor_pool,
    duration_pb2,  # noqa: F401
    field_mask_pb2,  # noqa: F401
    timestamp_pb2,  # noqa: F401
)

PACKED = (
{lines}
)


def _join(pool: descriptor_pool.DescriptorPool) -> None:
    try:
        pool.FindFileByName("buf/validate/validate.proto")
    except KeyError:
        pool.AddSerializedFile(zlib.decompress(base64.b85decode(PACKED)))


_join(descriptor_pool.Default())
'''

INIT = '''"""The stubs of protos/paycore/v1. Made by `make gen`; never edited."""

PROTOS_SHA256 = "{digest}"
"""Of the protos that these stubs were made from; a test compares it with the texts."""
'''


def main() -> int:
    asked = argparse.ArgumentParser(description="Write the stubs and the image anew from protos/.")
    asked.add_argument("--check", action="store_true", help="write nothing; exit 1 if anything is stale")
    check = asked.parse_args().check
    with tempfile.TemporaryDirectory() as folder:
        made = generate(Path(folder))
    stale = sorted(name for name, content in made.items() if not _same(HOUSE / name, content))
    gone = sorted(_existing() - set(made))
    if check:
        for name in stale + gone:
            print(f"stale: {name} (run `make gen`)", file=sys.stderr)
        return 1 if stale or gone else 0
    for name in stale:
        (HOUSE / name).parent.mkdir(parents=True, exist_ok=True)
        (HOUSE / name).write_bytes(made[name])
    for name in gone:
        (HOUSE / name).unlink()
    print(f"{len(made)} files, {len(stale)} written, {len(gone)} removed")
    return 0


def generate(folder: Path) -> dict[str, bytes]:
    """Everything that is made from the protos: paths from the checkout's root, with their content."""
    validate = validate_descriptor()
    known = folder / "known.binpb"
    known.write_bytes(_with_imports(validate).SerializeToString(deterministic=True))
    src = folder / "src"
    src.mkdir()
    _protoc(known, f"--python_out={src}", f"--grpc_python_out={src}", f"--mypy_out={src}", f"--mypy_grpc_out={src}")
    _protoc(known, "--include_imports", "--include_source_info", f"--descriptor_set_out={folder / 'api.binpb'}")
    serving = {path.stem for path in sources() if re.search(r"^service ", path.read_text(), flags=re.MULTILINE)}
    made = {
        f"{STUBS}/{path.name}": _own(path.name, path.read_text()).encode()
        for path in (src / "paycore/v1").iterdir()
        if "_pb2_grpc" not in path.name or path.name.split("_pb2_grpc")[0] in serving
    }
    made[f"{STUBS}/_validate.py"] = _shim(validate).encode()
    made[f"{STUBS}/__init__.py"] = INIT.format(digest=protos_digest()).encode()
    made[IMAGE] = (folder / "api.binpb").read_bytes()
    return made


def protos_digest() -> str:
    """One word for the texts of all protos."""
    digest = hashlib.sha256()
    for path in sources():
        digest.update(f"{path.relative_to(PROTOS).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def sources() -> list[Path]:
    return sorted(PROTOS.rglob("*.proto"))


def validate_descriptor() -> descriptor_pb2.FileDescriptorProto:
    """validate.proto as the protovalidate wheel knows it. The wheel keeps it in a private module; only this line looks there."""
    from protovalidate._gen.buf.validate import validate_pb

    return descriptor_pb2.FileDescriptorProto.FromString(validate_pb.desc().proto.to_binary())


def _with_imports(file: descriptor_pb2.FileDescriptorProto) -> descriptor_pb2.FileDescriptorSet:
    known = descriptor_pb2.FileDescriptorSet()
    for module in (descriptor_pb2, duration_pb2, timestamp_pb2, field_mask_pb2):
        module.DESCRIPTOR.CopyToProto(known.file.add())
    known.file.append(file)
    return known


def _protoc(known: Path, *wanted: str) -> None:
    """Run protoc on all our protos, with the plugins of this venv."""
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    own = str(resources.files("grpc_tools") / "_proto")
    names = [path.relative_to(PROTOS).as_posix() for path in sources()]
    if protoc.main(["protoc", f"-I{PROTOS}", f"-I{own}", f"--descriptor_set_in={known}", *wanted, *names]) != 0:
        raise SystemExit("protoc refused the protos")


def _own(name: str, text: str) -> str:
    """The generated text with validate.proto's stub, which exists nowhere, replaced by ours."""
    if name.endswith(".pyi"):
        text = re.sub(
            r"^from buf\.validate import validate_pb2 as \w+$", "import typing as _typing", text, flags=re.MULTILINE
        )
        return re.sub(r"\b_validate_pb2\.\w+", "_typing.Any", text)
    ours = r"from paycore.v1 import _validate as \1"
    return re.sub(r"^from buf\.validate import validate_pb2 as (\w+)$", ours, text, flags=re.MULTILINE)


def _shim(file: descriptor_pb2.FileDescriptorProto) -> str:
    packed = base64.b85encode(zlib.compress(file.SerializeToString(deterministic=True), 9)).decode()
    lines = "\n".join(f'    "{packed[at : at + 112]}"' for at in range(0, len(packed), 112))
    return SHIM.replace("{lines}", lines)


def _existing() -> set[str]:
    return {
        f"{STUBS}/{path.name}"
        for path in (HOUSE / STUBS).glob("*")
        if path.suffix in (".py", ".pyi") and path.is_file()
    }


def _same(path: Path, content: bytes) -> bool:
    return path.exists() and path.read_bytes() == content


if __name__ == "__main__":
    sys.exit(main())
