"""The embedded sets, drawn."""
