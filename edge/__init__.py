"""What runs in a region: signalling, the packet path, the mesh and the room. Never imports `control`."""
