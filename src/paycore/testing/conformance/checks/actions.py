"""Actions: what the payer's device is told to do can be run there, and is what the method declares."""

from __future__ import annotations

from paycore.channel import PaymentAsk, Price, Ready
from paycore.testing.conformance.stand import Stand
from paycore_bridge import Plan, StepKind, Target

_VENDORS = (StepKind.SDK, StepKind.JSAPI, StepKind.MINI_PROGRAM)


class Actions:
    """Plans against the bridge's needs."""

    def test_every_plan_can_be_run(self, stand: Stand) -> None:
        """By the schema of each step's kind, and by the plugin's own for what it hands to a vendor's SDK."""
        for ask, ready in _plans(stand):
            plan = Plan.from_json(ready.plan_json)
            plan.check(stand.case.step_schemas)
            assert plan.steps, f"{ask.method}: a plan has a step"

    def test_steps_are_those_that_the_method_declares(self, stand: Stand) -> None:
        seen: dict[str, set[str]] = {}
        for ask, ready in _plans(stand):
            kinds = {step.kind.value for step in Plan.from_json(ready.plan_json).steps}
            seen.setdefault(ask.method, set()).update(kinds)
        for name, kinds in seen.items():
            method = stand.kind.method(name)
            assert method is not None
            assert kinds == set(method.step_kinds), (
                f"{name} declares {sorted(method.step_kinds)} and gives {sorted(kinds)}"
            )

    def test_every_target_finds_a_step(self, stand: Stand) -> None:
        for ask, ready in _plans(stand):
            steps = Plan.from_json(ready.plan_json).steps
            if ask.target:
                fitting = [step for step in steps if step.target.fits(Target(ask.target))]
                assert fitting, f"{ask.method}: nothing that {ask.target} could do"

    def test_no_step_outlives_its_payment(self, stand: Stand) -> None:
        for ask, ready in _plans(stand):
            plan = Plan.from_json(ready.plan_json)
            ends = [one for one in (ready.expires_at, plan.expires_at, *(s.expires_at for s in plan.steps)) if one]
            assert all(ask.now < end <= ask.expires_at for end in ends), f"{ask.method}: {ends}"

    def test_the_device_takes_what_it_is_given(self, stand: Stand) -> None:
        """As the channel's own SDK would: it rejects what was not signed or is not whole."""
        for ask, ready in _plans(stand):
            method = stand.kind.method(ask.method)
            assert method is not None
            if method.price is Price.EXACT:
                assert stand.simulator.accept(ready.plan_json, stand.now) == ask.payment_id

    def test_a_vendors_sdk_is_described(self, stand: Stand) -> None:
        declared = {(one.kind, one.target) for one in stand.case.step_schemas.declared}
        for ask, ready in _plans(stand):
            for step in Plan.from_json(ready.plan_json).steps:
                if step.kind in _VENDORS:
                    is_described = (step.kind, step.target) in declared or (step.kind, Target.ANY) in declared
                    assert is_described, f"{ask.method}: STEP_SCHEMAS says nothing of {step.kind} on {step.target}"


def _plans(stand: Stand) -> list[tuple[PaymentAsk, Ready]]:
    """A plan by every method for every target."""
    plans: list[tuple[PaymentAsk, Ready]] = []
    for method in stand.kind.methods:
        for target in method.targets or ("",):
            ask = stand.payment(method, target=target)
            finding = stand.hold(stand.channel.prepare(ask))
            if isinstance(finding, Ready):
                plans.append((ask, finding))
            else:
                assert method.may_pay_at_prepare, f"{method.name} for {target or 'any device'}: {finding}"
    return plans
