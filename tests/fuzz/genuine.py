"""When a notice is genuine, said without asking the plugin: exactly the bytes that the channel signed.

Genuine is what has the method POST, the body of one of the channel's notices byte for byte, and that same notice's four
signed headers (merchant, timestamp, nonce, signature) byte for byte, at the account's address. Void are therefore, and
only: the case of header names, other headers, the order of headers, the query, the path behind an edge, and on HTTP the
percent-encoding of the path. A header that came twice is another header.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

from paycore.channel import OutgoingNotice
from paycore.v1 import notice_pb2
from paycore_sandbox import signing

SIGNED = (signing.MERCHANT, signing.TIMESTAMP, signing.NONCE, signing.SIGNATURE)


def is_genuine(
    notices: Iterable[OutgoingNotice], account_id: str, method: str, headers: Sequence[tuple[str, str]], body: bytes
) -> bool:
    """Whether one of these notices is what came."""
    return method == "POST" and any(_is(notice, account_id, headers, body) for notice in notices)


def is_genuine_request(notices: Iterable[OutgoingNotice], request: notice_pb2.DeliverNoticeRequest) -> bool:
    """Whether an edge forwards one of these notices."""
    headers = [(header.name, header.value) for header in request.headers]
    return is_genuine(notices, request.account_id, request.http_method, headers, request.body)


def _is(notice: OutgoingNotice, account_id: str, headers: Sequence[tuple[str, str]], body: bytes) -> bool:
    if notice.request.body != body or account_of(notice) != account_id:
        return False
    return all(
        [value for given, value in headers if given.lower() == name] == [notice.request.headers[name]]
        for name in SIGNED
    )


def account_of(notice: OutgoingNotice) -> str:
    """The account whose address a notice is sent to."""
    return urlsplit(notice.request.url).path.rpartition("/")[2]
