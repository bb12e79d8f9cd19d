"""Metering: what the product's customers used, each use once and for ever under the key its reporter gave it."""
