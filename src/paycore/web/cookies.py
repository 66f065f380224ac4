"""The page's credentials: a session's token in a cookie that no script can read, shown by calls that say which session they mean.

A page of another origin cannot say that without asking first (CORS), so a cookie that a browser adds by itself opens nothing.
"""

from typing import Final

SESSION_HEADER: Final = "paycore-session"
"""Names the session whose cookie a call of the page shows."""

Headers = list[tuple[bytes, bytes]]


def cookie_of(session_id: str) -> str:
    """The name of the cookie that holds a session's token; several pages may be open in one browser."""
    return f"paycore_{session_id}"


def with_cookie(request_headers: Headers) -> Headers:
    """The headers of a call, with the session's cookie as its credentials where the page says which session it is for."""
    named = [value for name, value in request_headers if name == SESSION_HEADER.encode()]
    if len(named) != 1 or any(name == b"authorization" for name, _ in request_headers):
        return request_headers
    wanted = cookie_of(named[0].decode("latin-1"))
    cookies = "; ".join(value.decode("latin-1") for name, value in request_headers if name == b"cookie")
    for one in cookies.split(";"):
        name, _, value = one.strip().partition("=")
        if name == wanted:
            return [*request_headers, (b"authorization", f"Bearer {value}".encode("latin-1"))]
    return request_headers
