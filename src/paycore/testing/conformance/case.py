"""A case: the plugin under test, and the few things about it that the kit cannot know."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from paycore.channel import ChannelKind, KitSimulator, Method
from paycore_bridge import StepSchemas


@dataclass(frozen=True, slots=True)
class Case:
    """What is put through the kit.

    `simulator` makes a fresh channel's side; the kind's own where it is left out. `inputs` is what a payer hands in, by
    method (an openid, the digits of a barcode); a function gets fresh ones for each payment. `free_headers` are headers
    of a notice that its signature does not cover: changing one must change nothing.
    """

    kind: ChannelKind
    simulator: Callable[[], KitSimulator] | None = None
    inputs: Mapping[str, Mapping[str, str] | Callable[[int], Mapping[str, str]]] = field(default_factory=dict)
    client: Mapping[str, Any] = field(default_factory=lambda: {"ip": "203.0.113.7"})
    product_id: str = "gold.100"
    free_headers: frozenset[str] = frozenset()
    base_url: str = "https://channel.example/gate"

    def make_simulator(self) -> KitSimulator:
        """A channel with empty books."""
        make = self.simulator or cast("Callable[[], KitSimulator] | None", self.kind.simulator)
        assert make is not None, f"{self.kind.name} ships no simulator; every plugin does"
        return make()

    def inputs_of(self, method: Method, number: int) -> dict[str, str]:
        """What the payer hands in for the kit's payment of this number."""
        given = self.inputs.get(method.name, {})
        inputs = dict(given(number) if callable(given) else given)
        missing = [one.name for one in method.inputs if one.name not in inputs]
        assert not missing, f"the case gives no {', '.join(missing)} for the method {method.name}"
        return inputs

    @property
    def step_schemas(self) -> StepSchemas:
        """What the plugin's own package declares as STEP_SCHEMAS; none for a plugin that calls no vendor's SDK."""
        package = importlib.import_module(self.kind.open.__module__.partition(".")[0])
        return cast("StepSchemas", getattr(package, "STEP_SCHEMAS", None) or StepSchemas.of([]))
