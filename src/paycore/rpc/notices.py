"""NoticeService: takes channels' notices from an edge that received them over HTTP."""

from dataclasses import dataclass

from paycore.core.refusals import Reason, Refused
from paycore.engine.notices import NO_SUCH_ACCOUNT
from paycore.rpc.pipeline import Call
from paycore.rpc.translate import notice_response, raw_notice
from paycore.v1 import notice_pb2


@dataclass(frozen=True, slots=True)
class NoticeService:
    """The function behind NoticeService."""

    async def deliver_notice(
        self, call: Call, request: notice_pb2.DeliverNoticeRequest
    ) -> notice_pb2.DeliverNoticeResponse:
        reply = await call.engine.deliver_notice(request.account_id, raw_notice(request))
        if reply is NO_SUCH_ACCOUNT:
            raise Refused(Reason.ACCOUNT_NOT_FOUND, "There is no such account.", fields=("account_id",))
        return notice_response(reply)
