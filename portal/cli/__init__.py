"""Commands: parse, one unit of work, call, print."""
