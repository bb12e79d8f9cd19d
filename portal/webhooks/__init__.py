"""The inbox of Stripe's events: verified and kept at the door, applied by the worker."""
