"""Ships: what tests of plugins and of callers need. An in-process server, a clock that stands still, wires without a network."""
