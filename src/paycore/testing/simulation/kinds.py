"""The sandbox channel as other channels are: one cannot close, one cannot be asked about refunds, one gives nothing back."""

from dataclasses import replace

from paycore.channel import AfterUnknown, ChannelKind, ChannelVerb
from paycore.testing.simulation.mischief import mischievous
from paycore.testing.simulation.weather import Weather
from paycore_sandbox import SANDBOX


def kind_of(weather: Weather) -> ChannelKind:
    """The kind of this world's channel, with the moods that its plugin has."""
    options = weather.options
    missing = {ChannelVerb(verb) for verb in options.lacks}
    after_unknown = AfterUnknown.QUERY_THEN_CLOSE if options.asks_after_unknown else AfterUnknown.REPEAT
    return replace(
        SANDBOX,
        verbs=SANDBOX.verbs - missing,
        methods=tuple(replace(method, after_unknown=after_unknown) for method in SANDBOX.methods),
        refund_count=options.refund_count,
        refund_interval_seconds=options.refund_pause,
        partial_refunds=options.partial_refunds,
        open=mischievous(SANDBOX.open, weather),
    )
