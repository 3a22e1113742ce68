"""What an operator asks from the command line: is this machine fit, what do the settings say, development certificates.

Nothing here is imported by edge or control.
"""
