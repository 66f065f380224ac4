"""The stubs load by themselves: without protovalidate, and beside other copies of its descriptor."""

import subprocess
import sys

IMPORTS = """
from paycore.v1 import cashier_pb2_grpc, channel_pb2_grpc, notice_pb2_grpc, order_pb2, order_pb2_grpc, reason_pb2, refund_pb2_grpc
order = order_pb2.Order(order_id="or1", state=order_pb2.Order.STATE_PAID)
assert order_pb2.Order.FromString(order.SerializeToString()) == order
"""

BLOCK = """
import sys
for name in ("protovalidate", "protobuf", "buf", "sqlalchemy", "pydantic"):
    sys.modules[name] = None
"""

VALIDATE = """
import protovalidate
violations = protovalidate.collect_violations(order_pb2.GetOrderRequest(order_id="x"))
assert [violation.proto.rule_id for violation in violations] == ["BAD_ID"], violations
"""

OTHER_COPY_FIRST = """
from google.protobuf import descriptor_pb2, descriptor_pool, duration_pb2, field_mask_pb2, timestamp_pb2
from protovalidate._gen.buf.validate import validate_pb
copy = descriptor_pb2.FileDescriptorProto.FromString(validate_pb.desc().proto.to_binary())
{change}
descriptor_pool.Default().AddSerializedFile(copy.SerializeToString())
"""

SAME_COPY_LATER = """
from google.protobuf import descriptor_pb2, descriptor_pool
from protovalidate._gen.buf.validate import validate_pb
descriptor_pool.Default().AddSerializedFile(validate_pb.desc().proto.to_binary())
"""


def run(program: str) -> str:
    """Run a program in an interpreter of its own and return what it complained about."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stderr


def test_the_stubs_need_no_protovalidate() -> None:
    assert run(BLOCK + IMPORTS) == ""


def test_the_rules_hold_where_protovalidate_is() -> None:
    assert run(IMPORTS + VALIDATE) == ""


def test_another_copy_of_the_rules_may_have_come_first() -> None:
    assert run(OTHER_COPY_FIRST.format(change="") + IMPORTS + VALIDATE) == ""


def test_another_version_of_the_rules_may_have_come_first() -> None:
    older = OTHER_COPY_FIRST.format(change="del copy.message_type[0].field[2]")
    assert run(older + IMPORTS + VALIDATE) == ""


def test_the_same_copy_may_come_later() -> None:
    assert run(IMPORTS + SAME_COPY_LATER + VALIDATE) == ""
