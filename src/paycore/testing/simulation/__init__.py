"""Money safety, simulated: whole lives of orders under every fault we can think of, in an order that a seed decides.

    python -m paycore.testing.simulation 4711                  one seed, with its story
    python -m paycore.testing.simulation --many 20000          that many seeds on all cores
    python -m paycore.testing.simulation --channel alipay 7    a world with a plugin, its keys and its simulator

One loop (`loop`) with a time of its own runs a small world: server processes that can be killed at every await and begin
again from the database alone (`processes`, `server`), people who ask, pay, change their minds and ask twice (`life`), a
channel behind a bad network (`channel`), whose own books are its counterpart's (`counterpart`), a database that fails
before and after its commits (`database`). The core, the engine, the store with SQLite, the rpc pipeline and the plugin are
the real ones.

What must hold is checked when it is promised, not only in the end: at each commit (`ledger`), at each answer to a
caller, each acknowledgement of a notice, each send (`promises`), at each message of a stream (`watchers`). In the end the
faults stop; then everything must come to rest (`ending`), and our books must be the channel's (`books`). Needs the
plugin of the channel that is played with: the sandbox's, where none is named.
"""
