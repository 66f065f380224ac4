"""Steps and plans: what the payer's device must do, in order, each step being the fallback of the one before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from paycore_bridge.canonical import BadJson, canonical_json, parse_json

if TYPE_CHECKING:
    from paycore_bridge.validation import StepSchemas

PLAN_VERSION = 1
MAX_STEPS = 16


class BadStep(ValueError):
    """A step or plan that no shell should be given; the text says which field and why, never its value."""


class StepKind(StrEnum):
    """What sort of thing the device does. The wire form is the value."""

    SDK = "sdk"
    JSAPI = "jsapi"
    MINI_PROGRAM = "mini_program"
    LINK = "link"
    REDIRECT = "redirect"
    FORM = "form"
    QR = "qr"
    STORE_PURCHASE = "store_purchase"
    NONE = "none"


class Target(StrEnum):
    """Where a step can run. ANY fits every device; the others name exactly one sort."""

    ANDROID = "android"
    IOS = "ios"
    HARMONY = "harmony"
    WEBVIEW = "webview"
    MINI_PROGRAM = "mini_program"
    MOBILE_WEB = "mobile_web"
    DESKTOP = "desktop"
    TV_CAR = "tv_car"
    ANY = "any"

    def fits(self, device: Target) -> bool:
        """Whether a step for this target may run on that device."""
        return self is Target.ANY or self is device


@dataclass(frozen=True, slots=True)
class SdkCall:
    """Hand these arguments, exactly as they are, to a native SDK of the app."""

    kind: ClassVar[StepKind] = StepKind.SDK
    sdk: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class JsapiCall:
    """Call a method of the script object that a wallet's own browser provides."""

    kind: ClassVar[StepKind] = StepKind.JSAPI
    bridge: str
    method: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class MiniProgramCall:
    """Call a payment method of the mini program that shows the cashier."""

    kind: ClassVar[StepKind] = StepKind.MINI_PROGRAM
    host: str
    method: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Link:
    """Open another app by its scheme or universal link."""

    kind: ClassVar[StepKind] = StepKind.LINK
    url: str


@dataclass(frozen=True, slots=True)
class Redirect:
    """Navigate the page to this address. Some channels refuse it without the registered referer."""

    kind: ClassVar[StepKind] = StepKind.REDIRECT
    url: str
    referer: str | None = None


@dataclass(frozen=True, slots=True)
class Form:
    """Submit a form: the fields as name and value, in this order."""

    kind: ClassVar[StepKind] = StepKind.FORM
    url: str
    fields: tuple[tuple[str, str], ...]
    method: str = "POST"


@dataclass(frozen=True, slots=True)
class Qr:
    """Show this text as a QR code to the payer's phone."""

    kind: ClassVar[StepKind] = StepKind.QR
    content: str


@dataclass(frozen=True, slots=True)
class StorePurchase:
    """Buy a product of an app store under a token that ties the purchase to the payment."""

    kind: ClassVar[StepKind] = StepKind.STORE_PURCHASE
    store: str
    product_id: str
    account_token: str
    quantity: int = 1
    offer: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Nothing:
    """The device has nothing to do: the payer acts elsewhere and the status stream tells the end."""

    kind: ClassVar[StepKind] = StepKind.NONE


StepContent: TypeAlias = SdkCall | JsapiCall | MiniProgramCall | Link | Redirect | Form | Qr | StorePurchase | Nothing

_CONTENTS: dict[StepKind, type[StepContent]] = {
    one.kind: one for one in (SdkCall, JsapiCall, MiniProgramCall, Link, Redirect, Form, Qr, StorePurchase, Nothing)
}


@dataclass(frozen=True, slots=True)
class Step:
    """One thing the device can do, where, with what, and until when.

    `params_json` is the truth: the exact text that is stored, signed and shown to the shell. It is always
    canonical. `requires` names what the shell must have; a shell that lacks one goes to the next step.
    `expires_at` is in microseconds UTC; None means as long as its plan.
    """

    kind: StepKind
    params_json: str
    target: Target = Target.ANY
    requires: tuple[str, ...] = ()
    expires_at: int | None = None

    @classmethod
    def of(
        cls,
        content: StepContent,
        *,
        target: Target = Target.ANY,
        requires: Iterable[str] = (),
        expires_at: int | None = None,
    ) -> Step:
        """The step that carries this content. Refuses content that cannot be written as exact JSON."""
        try:
            text = canonical_json(_params(content))
        except BadJson as error:
            raise BadStep(f"{content.kind} step: {error}") from error
        return cls(content.kind, text, target=target, requires=tuple(requires), expires_at=expires_at)

    @property
    def params(self) -> dict[str, Any]:
        """The parameters read from the exact text."""
        try:
            params = parse_json(self.params_json)
        except BadJson as error:
            raise BadStep(f"{self.kind} step: {error}") from error
        if not isinstance(params, dict):
            raise BadStep(f"{self.kind} step: parameters are not an object")
        return params

    @property
    def content(self) -> StepContent:
        """The parameters as the dataclass of this step's kind. Refuses what does not fit that kind."""
        self.check()
        params = self.params
        if self.kind is StepKind.FORM:
            params["fields"] = tuple((one["name"], one["value"]) for one in params["fields"])
        return _CONTENTS[self.kind](**params)

    def is_usable(self, now: int) -> bool:
        """Whether this step may still be started at this instant (microseconds UTC)."""
        return self.expires_at is None or now < self.expires_at

    def check(self, schemas: StepSchemas | None = None) -> None:
        """Raise BadStep unless the step fits its kind's schema, and the given plugin's schemas where it has some."""
        from paycore_bridge.validation import check_step

        check_step(self, schemas)

    def as_json(self) -> dict[str, Any]:
        """The step as plain data, its parameters still as the exact text."""
        plain: dict[str, Any] = {
            "kind": self.kind.value,
            "target": self.target.value,
            "requires": list(self.requires),
            "params_json": self.params_json,
        }
        return plain if self.expires_at is None else plain | {"expires_at": self.expires_at}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Step:
        """The step of plain data that has already been checked against the plan schema."""
        return cls(
            kind=StepKind(plain["kind"]),
            params_json=plain["params_json"],
            target=Target(plain["target"]),
            requires=tuple(plain["requires"]),
            expires_at=plain.get("expires_at"),
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in order of preference; a shell runs the first it can and falls back to the next.

    `expires_at` is the instant (microseconds UTC) from which no step may be started; None where the channel
    sets no end of its own.
    """

    steps: tuple[Step, ...]
    expires_at: int | None = None

    @classmethod
    def of(cls, *steps: Step, expires_at: int | None = None) -> Plan:
        """A plan of these steps, first choice first."""
        return cls(steps=tuple(steps), expires_at=expires_at)

    def check(self, schemas: StepSchemas | None = None) -> None:
        """Raise BadStep unless every step fits; the text names the step by its place, counted from 0."""
        from paycore_bridge.validation import check_plan

        check_plan(self, schemas)

    def first(self, kind: StepKind) -> Step | None:
        """The first step of this kind, or None."""
        return next((step for step in self.steps if step.kind is kind), None)

    def for_device(self, device: Target, now: int) -> tuple[Step, ...]:
        """The steps that this sort of device may still start at this instant, in order."""
        if self.expires_at is not None and now >= self.expires_at:
            return ()
        return tuple(step for step in self.steps if step.target.fits(device) and step.is_usable(now))

    def to_json(self) -> str:
        """The one text of this plan, for storage. `from_json` gives the same plan back."""
        plain: dict[str, Any] = {"v": PLAN_VERSION, "steps": [step.as_json() for step in self.steps]}
        if self.expires_at is not None:
            plain["expires_at"] = self.expires_at
        try:
            return canonical_json(plain)
        except BadJson as error:
            raise BadStep(f"plan: {error}") from error

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """The plan of a stored text. Raises BadStep for any text that `to_json` of a good plan cannot have written."""
        from paycore_bridge.validation import plain_plan

        plain = plain_plan(text)
        plan = cls(steps=tuple(Step.from_plain(step) for step in plain["steps"]), expires_at=plain.get("expires_at"))
        plan.check()
        return plan


def _params(content: StepContent) -> dict[str, Any]:
    """The content's fields as they are written, without those that are not set."""
    params = {one.name: getattr(content, one.name) for one in fields(content)}
    if isinstance(content, Form):
        params["fields"] = [{"name": name, "value": value} for name, value in content.fields]
    return {name: value for name, value in params.items() if value is not None}
