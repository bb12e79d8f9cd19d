"""What goes in and what comes out, as marshmallow schemas; the OpenAPI document is made from them."""
