"""What a payer's device must do, as data that any shell can run.

A channel answers a payment with a plan: an ordered list of steps, the next one being the fallback of
the one before. This package owns their shapes, their JSON Schemas, the closed set of outcomes that a
device may report, what a channel declares of its SDKs, the sealed envelope and the messages around it, and the
drawing of QR codes. It imports nothing of paycore. `envelope`, `keys` and `jws` need cryptography and are imported
by their own names.
"""

from paycore_bridge.canonical import BadJson, canonical_json, parse_json
from paycore_bridge.declaration import ChannelBridge, Meaning, ResultTable
from paycore_bridge.outcomes import ClientOutcome
from paycore_bridge.schema import BadSchema
from paycore_bridge.steps import (
    BadStep,
    Form,
    JsapiCall,
    Link,
    MiniProgramCall,
    Nothing,
    Plan,
    Qr,
    Redirect,
    SdkCall,
    Step,
    StepContent,
    StepKind,
    StorePurchase,
    Target,
)
from paycore_bridge.validation import StepSchema, StepSchemas, check_step, schema_of

__all__ = [
    "BadJson",
    "BadSchema",
    "BadStep",
    "ChannelBridge",
    "ClientOutcome",
    "Form",
    "JsapiCall",
    "Link",
    "Meaning",
    "MiniProgramCall",
    "Nothing",
    "Plan",
    "Qr",
    "Redirect",
    "ResultTable",
    "SdkCall",
    "Step",
    "StepContent",
    "StepKind",
    "StepSchema",
    "StepSchemas",
    "StorePurchase",
    "Target",
    "canonical_json",
    "check_step",
    "parse_json",
    "schema_of",
]
