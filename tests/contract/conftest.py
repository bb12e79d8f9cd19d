"""A sandbox over HTTP, driven by the official SDK."""
