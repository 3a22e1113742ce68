"""A wide-area network on loopback: UDP links with delay, jitter, loss in bursts, a rate and blackouts, per direction.

`model` decides what happens to a packet and when (pure and seeded); `relay` owns the sockets and the one timer; `admin`
is the HTTP surface that changes links while traffic flows; `settings` and `main` are the process. Nothing of the
product imports it.
"""
