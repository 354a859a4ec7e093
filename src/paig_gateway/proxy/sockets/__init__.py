"""WebSockets: sessions relayed message by message, and metered turn by turn.

A client's upgrade comes in, its key is looked up, a provider is connected (`dial`), and only then is the upgrade
accepted. From then on messages pass between two `peer`s, unchanged and in order. What they mean for money is decided by
a machine without I/O, one for each API (`realtime`, `responses`, `live`): which message of the client needs a hold
before it goes on, which message of the provider ends a turn. `money` holds and settles turns, `relay` ties the two
peers, the machine and the money together.

Never true: that a message that may start a turn goes on before the turn's worst case is held; that a turn which
a provider may bill is settled at nothing; that a message is changed, but for what the contract names.
"""

from __future__ import annotations
