"""`paycore demo`: a real server, a simulated channel and a client act out what money can do, and check every step."""
