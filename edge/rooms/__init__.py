"""The room around the picture: danmaku from people connected here, to everybody in the room, over the tree of edges.

`RoomRelay` and `RoomLog` are pure: events in, commands out. `RoomHub` and `RoomSocket` are their thin rim.
Never here: media, routes, and anything that must survive a crash (that is control's).
"""
