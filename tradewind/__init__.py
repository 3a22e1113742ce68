"""The front door of the network of relays."""
