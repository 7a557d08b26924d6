"""The commands of ``python -m emulator``, one module per command."""
