"""An app around a page in WebKit, driven by lines of JSON: what one reads in, what the page says out. For the system's Python.

In:  {"open": text, "at": url}, {"visit": url}, {"run": script, "id": n}, {"reply": n, "text": text}, {"refuse": n}, {"kill": true}
Out: {"ready": version}, {"loaded": url}, {"died": reason}, {"heard": text, "handler": name, "id": n},
     {"value": json, "id": n}, {"failed": why, "id": n}

`run` takes the body of an asynchronous function; without an id nobody hears what became of it. A handler whose name ends
with Reply is answered by `reply` or `refuse`; the others only hear.
"""

from __future__ import annotations

import json
import sys
from threading import Thread
from typing import Any

import gi  # type: ignore[import-not-found, unused-ignore]

gi.require_version("Gtk", "3.0")
gi.require_version("JavaScriptCore", "4.1")
gi.require_version("WebKit2", "4.1")
from gi.repository import GLib, Gtk, JavaScriptCore, WebKit2  # type: ignore[import-not-found, unused-ignore] # noqa: E402

HANDLERS = sys.argv[1:]


def say(**what: Any) -> None:
    print(json.dumps(what), flush=True)


class Window:
    """One page, and the calls of it that wait for a reply."""

    def __init__(self) -> None:
        self.waiting: dict[int, Any] = {}
        self.count = 0
        manager = WebKit2.UserContentManager()
        for name in HANDLERS:
            if name.endswith("Reply"):
                manager.connect(f"script-message-with-reply-received::{name}", self.asked, name)
                manager.register_script_message_handler_with_reply(name, None)
            else:
                manager.connect(f"script-message-received::{name}", self.told, name)
                manager.register_script_message_handler(name)
        self.view = WebKit2.WebView(
            web_context=WebKit2.WebContext.new_ephemeral(), user_content_manager=manager, is_ephemeral=True
        )
        self.view.connect("load-changed", self.loaded)
        self.view.connect("web-process-terminated", lambda _view, why: say(died=why.value_nick))
        window = Gtk.Window()
        window.set_default_size(400, 760)
        window.add(self.view)
        window.show_all()

    def loaded(self, view: Any, event: Any) -> None:
        if event == WebKit2.LoadEvent.FINISHED:
            say(loaded=view.get_uri())

    def told(self, _manager: Any, result: Any, handler: str) -> None:
        say(heard=result.get_js_value().to_string(), handler=handler)

    def asked(self, _manager: Any, value: Any, reply: Any, handler: str) -> bool:
        self.count += 1
        self.waiting[self.count] = (reply, value.get_context())
        say(heard=value.to_string(), handler=handler, id=self.count)
        return True

    def do(self, order: dict[str, Any]) -> None:
        match order:
            case {"open": text, "at": url}:
                self.view.load_html(text, url)
            case {"visit": url}:
                self.view.load_uri(url)
            case {"run": script}:
                self.view.call_async_javascript_function(script, -1, None, None, None, None, self.ran, order.get("id"))
            case {"reply": number, "text": text}:
                reply, context = self.waiting.pop(number)
                reply.return_value(JavaScriptCore.Value.new_string(context, text))
            case {"refuse": number}:
                self.waiting.pop(number)[0].return_error_message("the app is gone")
            case {"kill": True}:
                self.view.terminate_web_process()

    def ran(self, view: Any, result: Any, number: int | None) -> None:
        try:
            value = view.call_async_javascript_function_finish(result)
            said = {"value": json.loads(value.to_json(0) or "null")}
        except GLib.Error as error:
            said = {"failed": error.message}
        if number is not None:
            say(**said, id=number)


def read(window: Window) -> None:
    """Hand every line to the loop of the window; the end of the lines is the end of the app."""
    for line in sys.stdin:
        GLib.idle_add(window.do, json.loads(line))
    GLib.idle_add(Gtk.main_quit)


say(ready=f"{WebKit2.get_major_version()}.{WebKit2.get_minor_version()}.{WebKit2.get_micro_version()}")
Thread(target=read, args=[Window()], daemon=True).start()
Gtk.main()
