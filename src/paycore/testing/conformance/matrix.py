"""What channels declare, as a Markdown table: for their documents, printed from the very data that the engine reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from paycore.channel import AfterUnknown, ChannelKind, ChannelVerb, Method, Price

YES, NO = "yes", "no"
BEGIN, END = "<!-- matrix -->", "<!-- end of matrix -->"
"""Where the matrix stands in a page."""


def matrix(kinds: Iterable[ChannelKind]) -> str:
    """Two tables: what each channel can do, and what each of its methods promises."""
    ordered = sorted(kinds, key=lambda kind: kind.name)
    return "\n\n".join((_channels(ordered), _methods(ordered)))


def put_into(page: str, text: str) -> str:
    """The page with the matrix between its marks. Raises ValueError for a page that has none."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no marks {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"


def _channels(kinds: Sequence[ChannelKind]) -> str:
    head = ["channel", *(verb.value for verb in ChannelVerb), "refunds", "notices", "environments"]
    rows = [
        [
            kind.name,
            *(YES if verb in kind.verbs else NO for verb in ChannelVerb),
            _refunds(kind),
            _notices(kind),
            ", ".join(kind.environments),
        ]
        for kind in kinds
    ]
    return _table(head, rows)


def _refunds(kind: ChannelKind) -> str:
    if ChannelVerb.REFUND not in kind.verbs:
        return "none from us"
    parts = ["in parts" if kind.partial_refunds else "whole only"]
    if kind.refund_window_seconds is not None:
        parts.append(f"for {kind.refund_window_seconds // 86400} days")
    if kind.refund_count is not None:
        parts.append(f"at most {kind.refund_count}")
    return ", ".join(parts)


def _notices(kind: ChannelKind) -> str:
    if ChannelVerb.READ_NOTICE not in kind.verbs:
        return "none"
    return "any age" if kind.notice_window_seconds is None else f"within {kind.notice_window_seconds} s"


_COLUMNS: tuple[tuple[str, Callable[[Method], str]], ...] = (
    ("scene", lambda method: method.scene),
    ("steps", lambda method: ", ".join(method.step_kinds)),
    ("faces", lambda method: ", ".join(method.faces) or "any"),
    ("currencies", lambda method: ", ".join(sorted(method.limits))),
    ("price", lambda method: "the store's" if method.price is Price.STORE else "exact"),
    ("after silence", lambda method: "repeat" if method.after_unknown is AfterUnknown.REPEAT else "query, then close"),
    ("paid at once", lambda method: YES if method.may_pay_at_prepare else NO),
    ("close gives back", lambda method: YES if method.close_reverses else NO),
)


def _methods(kinds: Sequence[ChannelKind]) -> str:
    rows = [
        [kind.name, method.name, *(show(method) for _, show in _COLUMNS)] for kind in kinds for method in kind.methods
    ]
    return _table(["channel", "method", *(name for name, _ in _COLUMNS)], rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
