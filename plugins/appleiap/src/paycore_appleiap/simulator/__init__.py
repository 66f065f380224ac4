"""The App Store's own side: a certificate chain, a store, the server API and notifications. Sans-I/O."""

from paycore_appleiap.simulator.authority import Authority
from paycore_appleiap.simulator.books import Sale
from paycore_appleiap.simulator.server import AppStoreSimulator, NoticeFault

__all__ = ["AppStoreSimulator", "Authority", "NoticeFault", "Sale"]
