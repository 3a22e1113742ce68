"""A whole fleet on one machine: emulator, control, edges and a test broadcast as child processes of one command.

`regions` knows metros and distances; `plan` writes the children's settings; `children` starts and ends them; `main` is
the order of events. `picture`, `broadcast` and `watcher` are the test broadcast and the viewer that proves it arrives.
Nothing here is imported by edge or control.
"""
