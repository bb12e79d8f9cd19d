"""Stripe's side of the house: the mirror of its objects, checkout, and the billing dashboard."""
