"""`paycore call METHOD JSON`: any call of the contract, streams included, so that nobody needs another tool."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from paycore.cli.exits import ExitCode, Sorry
from paycore.cli.options import Json
from paycore.cli.screen import Screen, clean, written

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor

    from paycore.client.errors import PaycoreError

KEY_VARIABLE = "PAYCORE_API_KEY"
MOST_INPUT = 4 * 1024 * 1024
_FILES = ("order", "cashier", "refund", "channel", "notice")


def _complete(incomplete: str) -> list[str]:
    names = {method.name for method in _methods()}
    return sorted(name for name in names if name.lower().startswith(incomplete.lower()))


def call(
    method: Annotated[
        Optional[str],  # noqa: UP045
        typer.Argument(help="CreateOrder, or OrderService.CreateOrder.", autocompletion=_complete),
    ] = None,
    request: Annotated[
        Optional[str],  # noqa: UP045
        typer.Argument(help="The request as JSON; @FILE reads a file, - or nothing reads stdin.", metavar="JSON"),
    ] = None,
    target: Annotated[
        str, typer.Option("--target", envvar="PAYCORE_TARGET", help="Where the server listens.")
    ] = "127.0.0.1:50051",
    key_file: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--key-file", help=f"The API key or session token, instead of {KEY_VARIABLE}.", dir_okay=False),
    ] = None,
    ca: Annotated[Optional[Path], typer.Option(help="The authority that signed the server's certificate.")] = None,  # noqa: UP045
    cert: Annotated[Optional[Path], typer.Option(help="Our client certificate.")] = None,  # noqa: UP045
    cert_key: Annotated[Optional[Path], typer.Option(help="The key of our client certificate.")] = None,  # noqa: UP045
    plaintext: Annotated[bool, typer.Option(help="Allow plain text to an address that is not loopback.")] = False,
    seconds: Annotated[
        float, typer.Option(help="How long a call may take; a stream takes as long as it takes.", min=0.001)
    ] = 20.0,
    messages: Annotated[int, typer.Option(help="End a stream after so many messages; 0 for never.", min=0)] = 0,
    template: Annotated[bool, typer.Option("--template", help="Print an empty request and call nothing.")] = False,
    list_all: Annotated[bool, typer.Option("--list", help="List every method and call nothing.")] = False,
    json: Json = False,
) -> None:
    """Call any method of a server: JSON in, JSON out, a stream as one line of JSON for each message.

    The key is read from PAYCORE_API_KEY, or from a file, never from the command line. A request_id that the method needs and
    that is not given is made, and told on stderr.
    """
    screen = Screen(json)
    if list_all or method is None:
        _show_methods(screen)
        return
    found = _find(method)
    if template:
        _put(written(_template(found.input_type), indent=2))
        return
    message = _request(found, _text(request), screen)
    address = _address(target, key_file, ca, cert, cert_key, plaintext=plaintext)
    answers = _answers(found, message, address, seconds)
    try:
        for answer in _first(answers, messages):
            _put(_json(answer, on_one_line=found.server_streaming))
    except KeyboardInterrupt:
        if not found.server_streaming:
            raise
    finally:
        answers.close()


# ---------------------------------------------------------------------------------------------- methods


def _methods() -> list[MethodDescriptor]:
    """Every method of the contract, in the order of the protos."""
    from importlib import import_module

    files = [import_module(f"paycore.v1.{name}_pb2").DESCRIPTOR for name in _FILES]
    services = [service for file in files for service in file.services_by_name.values()]
    return [method for service in services for method in service.methods]


def _find(name: str) -> MethodDescriptor:
    """The method that is meant, with or without its service, in any case."""
    wanted = name.strip("/").replace("/", ".").removeprefix("paycore.v1.").lower()
    for method in _methods():
        if wanted in (method.name.lower(), f"{method.containing_service.name}.{method.name}".lower()):
            return method
    from difflib import get_close_matches

    names = [method.name for method in _methods()]
    close = get_close_matches(wanted.rpartition(".")[2], [each.lower() for each in names], n=1, cutoff=0.5)
    hint = next((f"; did you mean {each}?" for each in names if close and each.lower() == close[0]), ".")
    raise Sorry(f"There is no method {clean(name)}{hint}", ExitCode.USAGE)


def _show_methods(screen: Screen) -> None:
    found: list[dict[str, Any]] = [
        {
            "service": method.containing_service.name,
            "method": method.name,
            "is_stream": method.server_streaming,
            "request": [field.name for field in method.input_type.fields],
        }
        for method in _methods()
    ]
    screen.show(
        {"methods": found},
        lambda: screen.table(
            ("METHOD", "SERVICE", "ANSWER", "REQUEST"),
            (
                (one["method"], one["service"], "stream" if one["is_stream"] else "one", ", ".join(one["request"]))
                for one in found
            ),
        ),
    )


def _template(kind: Descriptor, depth: int = 0) -> dict[str, Any]:
    """A request with every field in it, empty; of alternatives only the first."""
    fields = [
        field for field in kind.fields if field.containing_oneof is None or field is field.containing_oneof.fields[0]
    ]
    return {field.name: _empty(field, depth) for field in fields}


def _empty(field: FieldDescriptor, depth: int) -> Any:
    inner = field.message_type
    if inner is not None and inner.GetOptions().map_entry:
        return {}
    if inner is None:
        value: Any = _empty_scalar(field)
    elif inner.full_name == "google.protobuf.Timestamp":
        value = "2030-01-01T00:00:00Z"
    else:
        value = _template(inner, depth + 1) if depth < 4 else {}
    return [value] if field.is_repeated else value


def _empty_scalar(field: FieldDescriptor) -> Any:
    if field.enum_type is not None:
        return field.enum_type.values[0].name
    if field.cpp_type == field.CPPTYPE_BOOL:
        return False
    return "" if field.cpp_type == field.CPPTYPE_STRING else 0


# ---------------------------------------------------------------------------------------------- the request


def _text(request: str | None) -> str:
    """The request's JSON, from wherever it is."""
    if request is not None and request.startswith("@"):
        try:
            return Path(request[1:]).read_text("utf-8")[:MOST_INPUT]
        except (OSError, UnicodeDecodeError):
            raise Sorry(f"The file {clean(request[1:])} cannot be read.", ExitCode.USAGE) from None
    if request in (None, "-"):
        return "{}" if request is None and sys.stdin.isatty() else sys.stdin.read(MOST_INPUT).strip() or "{}"
    assert request is not None
    return request


def _request(method: MethodDescriptor, text: str, screen: Screen) -> Any:
    """The request as a message. An idempotency key that is missing is made."""
    from google.protobuf import json_format, message_factory

    message: Any = message_factory.GetMessageClass(method.input_type)()
    try:
        json_format.Parse(text, message)
    except json_format.ParseError as error:
        raise Sorry(
            f"The request does not fit {method.input_type.name}: {_first_line(error)}", ExitCode.USAGE
        ) from None
    if "request_id" in method.input_type.fields_by_name and not message.request_id:
        import uuid

        message.request_id = uuid.uuid4().hex
        screen.note(f"request_id {message.request_id}")
    return message


def _first_line(error: Exception) -> str:
    return clean(str(error).partition("\n")[0]).rstrip(".")[:300]


# ---------------------------------------------------------------------------------------------- the call


def _address(
    target: str, key_file: Path | None, ca: Path | None, cert: Path | None, cert_key: Path | None, *, plaintext: bool
) -> Any:
    from paycore.client.connect import Address

    try:
        return Address(
            target,
            _key(key_file),
            root_certificates=_read(ca),
            client_key=_read(cert_key),
            client_certificate=_read(cert),
            plaintext=True if plaintext else None,
        )
    except ValueError as error:
        raise Sorry(f"{str(error).capitalize()}.", ExitCode.USAGE) from None


def _key(key_file: Path | None) -> str:
    import os

    text = os.environ.get(KEY_VARIABLE, "") if key_file is None else (_read(key_file) or b"").decode("ascii", "replace")
    if not text.strip():
        raise Sorry(f"There is no API key; set {KEY_VARIABLE} or give --key-file.", ExitCode.USAGE)
    return text.strip()


def _read(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError:
        raise Sorry(f"The file {clean(path)} cannot be read.", ExitCode.USAGE) from None


def _answers(method: MethodDescriptor, message: Any, address: Any, seconds: float) -> Generator[Any, None, None]:
    """The answers as they come. Raises what paycore.client raises."""
    import grpc
    from google.protobuf import message_factory

    from paycore.client.connect import OPTIONS
    from paycore.client.errors import from_rpc

    channel = (
        grpc.insecure_channel(address.target, options=OPTIONS)
        if address.is_plaintext
        else grpc.secure_channel(address.target, address.credentials(), options=OPTIONS)
    )
    path = f"/{method.containing_service.full_name}/{method.name}"
    open_call: Any = channel.unary_stream if method.server_streaming else channel.unary_unary
    invoke = open_call(
        path,
        request_serializer=lambda asked: asked.SerializeToString(),
        response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
    )
    try:
        if method.server_streaming:
            yield from invoke(message, metadata=address.metadata)
        else:
            yield invoke(message, timeout=seconds, metadata=address.metadata)
    except grpc.RpcError as error:
        raise _failure(from_rpc(error, getattr(message, "request_id", "")), address.target) from None
    finally:
        channel.close()


def _failure(error: PaycoreError, target: str) -> Exception:
    """What to say of a call that was not answered: the server's reason, or that there was nobody."""
    if error.reason or error.code.name != "UNAVAILABLE":
        return error
    return Sorry(f"The server at {clean(target)} cannot be reached.", ExitCode.UNAVAILABLE)


def _first(answers: Iterable[Any], most: int) -> Iterator[Any]:
    for number, answer in enumerate(answers, start=1):
        yield answer
        if number == most:
            return


def _json(answer: Any, *, on_one_line: bool) -> str:
    from google.protobuf import json_format

    document = json_format.MessageToDict(answer, preserving_proto_field_name=True)
    return written(document, indent=None if on_one_line else 2)


def _put(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
