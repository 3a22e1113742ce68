"""WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep) over HTTP, who may use them, and the pages' way in.

Offers are bytes here: the packet path parses and answers them. Never here: SDP grammar, packets, room messages.
"""
