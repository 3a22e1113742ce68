"""What edge and control share: settings, logging, problems over HTTP, access tokens.

Nothing here knows what an edge or the control plane does, and nothing here is imported by pure code.
"""
