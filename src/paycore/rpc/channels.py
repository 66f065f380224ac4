"""ChannelService: what the loaded channels can do, and where the app has accounts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from paycore.channel import ChannelKind
from paycore.core.refusals import Reason, Refused
from paycore.engine.accounts import OpenAccount
from paycore.rpc.pages import Pages
from paycore.rpc.pipeline import Call
from paycore.rpc.translate import channel_message
from paycore.v1 import channel_pb2


@dataclass(frozen=True, slots=True)
class ChannelService:
    """The functions behind ChannelService."""

    pages: Pages

    async def list_channels(
        self, call: Call, request: channel_pb2.ListChannelsRequest
    ) -> channel_pb2.ListChannelsResponse:
        mark, size = self.pages.mark(call.app_id, request), self.pages.size(request)
        names = [name for name in sorted(call.engine.host.kinds) if mark is None or name > str(mark[0])]
        accounts = await call.engine.accounts.for_app(call.app_id)
        response = channel_pb2.ListChannelsResponse(
            channels=[_shown(call.engine.host.kinds[name], accounts) for name in names[:size]]
        )
        if len(names) > size:
            response.next_page_token = self.pages.token(call.app_id, request, [names[size - 1]])
        return response

    async def get_channel(self, call: Call, request: channel_pb2.GetChannelRequest) -> channel_pb2.GetChannelResponse:
        kind = call.engine.host.kinds.get(request.channel)
        if kind is None:
            raise Refused(Reason.CHANNEL_NOT_FOUND, "There is no such channel.", fields=("channel",))
        accounts = await call.engine.accounts.for_app(call.app_id)
        return channel_pb2.GetChannelResponse(channel=_shown(kind, accounts))


def _shown(kind: ChannelKind, accounts: Sequence[OpenAccount]) -> channel_pb2.Channel:
    own: Iterable[OpenAccount] = (account for account in accounts if account.kind.name == kind.name)
    return channel_message(kind, own)
