"""The JSON API that the customer's backend calls, version 1, described by its own OpenAPI document."""
